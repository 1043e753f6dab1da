"""How often a message is tried, and what stands for it then, with a loop that a test makes."""

import pytest

from arroyo import Event
from arroyo.config.graph import Stage
from arroyo.errors import UnavailableError
from arroyo.runner.process.stop_signals import StopNowError
from arroyo.runner.user_code.error_policy import (
    LOGGED_ERRORS,
    ErrorPolicy,
    StageFailedError,
    UnusableMethodError,
    in_words,
    label,
    require_users_own,
)


class Kept:
    """Says what was quarantined, and what came between."""

    def __init__(self):
        self.said = []

    def put(self, message, error, attempts):
        self.said.append(("put", message.metadata["n"], attempts))

    def put_refused(self, message, error):
        self.said.append(("refused", message.metadata["n"]))

    def note_success(self):
        self.said.append("success")

    def note_accepted(self):
        self.said.append("accepted")


def policy(errors, kept=None, due=(), **settings):
    """Make one whose code raises the next error of a message, if there is one left."""

    def work(left, outcomes):
        for message in left:
            waiting = errors.get(message.metadata["n"])
            if waiting:
                return message, waiting.pop(0)
            outcomes.append("done")
        return None

    stage = Stage("work", "operator", "own:Work", **settings)
    return ErrorPolicy(
        stage, work, list, skipped="skipped", quarantined="kept", quarantine=kept, due=due
    )


def events(count):
    return [Event({"n": number}) for number in range(count)]


def no(count=1):
    return [ValueError("no") for _ in range(count)]


def test_the_others_go_on_beside_one_that_is_quarantined():
    kept = Kept()
    made = policy({1: no()}, kept)
    assert made.run(events(3)) == ["done", "kept", "done"]
    assert kept.said == [("put", 1, 1), "success"]  # nothing is told of a streak that is none
    assert made.errors == 1


def test_one_that_works_at_the_last_try_is_done():
    kept = Kept()
    made = policy({0: no(2)}, kept, on_error="retry", retries=2)
    assert made.run(events(1)) == ["done"]
    assert kept.said == ["success"]
    assert made.errors == 2


def test_one_that_never_works_is_given_up_after_the_last_try():
    kept = Kept()
    assert policy({0: no(3)}, kept, on_error="retry", retries=2).run(events(1)) == ["kept"]
    assert kept.said == [("put", 0, 3)]


def test_one_is_skipped_where_the_chain_file_says_so_or_there_is_no_quarantine():
    kept = Kept()
    assert policy({0: no()}, kept, on_error="skip").run(events(1)) == ["skipped"]
    assert policy({0: no()}).run(events(1)) == ["skipped"]
    assert kept.said == []


def test_the_stage_ends_where_the_chain_file_says_so():
    with pytest.raises(
        StageFailedError, match=r'own:Work raised ValueError: no on Event .*"crash"'
    ):
        policy({0: no()}, Kept(), on_error="crash").run(events(1))


@pytest.mark.parametrize("error", [UnavailableError("away"), UnusableMethodError("a generator")])
def test_what_is_not_the_fault_of_a_message_comes_out(error):
    kept = Kept()
    with pytest.raises(type(error)):
        policy({0: [error]}, kept, on_error="retry", retries=5).run(events(1))
    assert kept.said == []


def test_it_stops_after_the_message_in_hand_where_results_are_due():
    due = [True]
    assert policy({0: no()}, due=due).run(events(3)) == ["skipped"]


def test_what_is_refused_later_is_quarantined_too():
    kept = Kept()
    made = policy({}, kept)
    (event,) = events(1)
    assert made.refuse(event, ValueError("nobody wants it")) == "kept"
    made.note_accepted()
    assert kept.said == [("refused", 0), "accepted"]
    assert policy({}, kept, on_error="skip").refuse(event, ValueError("no")) == "skipped"


def test_so_many_errors_are_logged_and_the_others_counted(caplog):
    count = LOGGED_ERRORS + 5
    made = policy({number: no() for number in range(count)}, on_error="skip")
    made.run(events(count))
    assert len(caplog.records) == LOGGED_ERRORS
    assert caplog.records[-1].getMessage().endswith("further errors are only counted")
    assert made.errors == count


def test_a_second_stop_signal_is_not_the_codes_own():
    with pytest.raises(StopNowError):
        require_users_own(StopNowError())
    require_users_own(SystemExit(3))


def test_an_error_without_a_text_is_told_by_its_class():
    assert in_words(ValueError()) == "ValueError"
    assert in_words(ValueError("no beam")) == "ValueError: no beam"
    assert label(Event()) == "Event (new)"
