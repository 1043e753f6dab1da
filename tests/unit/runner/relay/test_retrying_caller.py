"""What follows where a stage's code fails, with a fake for who decides it."""

import pytest

from arroyo.errors import UnavailableError
from arroyo.runner.relay.link_thread import NoLinkThread
from arroyo.runner.relay.retrying_caller import RetryingCaller
from arroyo.runner.user_code.results import ListedResults


class Batch:
    """Two messages, each with its name alone."""

    def __init__(self):
        self.work = [(0, (), {}), (1, (), {})]
        self.restored = 0
        self.restore()

    def restore(self):
        self.restored += 1
        for (_, _, message), name in zip(self.work, ("first", "second"), strict=True):
            message["name"] = name


@pytest.fixture
def batch():
    batch = Batch()
    batch.restored = 0
    return batch


class Replica:
    """Ends after `patience` tries, or goes on without the message where that is `skips`."""

    shares_thread = False

    def __init__(self, patience=0, *, skips=False):
        self.patience = patience
        self.skips = skips
        self.attempts = []

    def endure(self, error, attempt):
        self.attempts.append(attempt)
        if attempt >= self.patience and not self.skips:
            raise error
        return attempt >= self.patience


@pytest.fixture
def caller(batch):
    return lambda replica: RetryingCaller(replica, NoLinkThread(), batch.restore)


def failing(times, seen):
    """Fail so often, each time with messages that are spoilt by then; then return."""

    def code(work):
        seen.append([message["name"] for _, _, message in work])
        for _, _, message in work:
            message["name"] = "spoilt"
        if len(seen) <= times:
            raise UnavailableError("it is away")
        return "done"

    return code


def test_what_the_code_returns_comes_back(caller, batch):
    seen = []
    assert caller(Replica()).call(failing(0, seen), batch.work) == "done"
    assert seen == [["first", "second"]]
    assert batch.restored == 0


def test_the_failure_comes_out_where_nobody_waits(caller, batch):
    replica = Replica()
    with pytest.raises(UnavailableError):
        caller(replica).call(failing(1, []), batch.work)
    assert replica.attempts == [0]


def test_it_is_tried_again_with_the_messages_as_they_came(caller, batch):
    seen, replica = [], Replica(patience=5)
    assert caller(replica).call(failing(2, seen), batch.work) == "done"
    assert seen == [["first", "second"]] * 3
    assert replica.attempts == [0, 1]
    assert batch.restored == 2  # once for all messages


def test_the_chain_may_go_on_without_the_first_message_which_passes_as_it_came(caller, batch):
    patient = caller(Replica(skips=True))
    found = patient.call(failing(1, []), batch.work, lambda each: f"no {each['name']}")
    assert found == ["no first"]


def test_nothing_comes_of_a_flush_that_the_chain_goes_on_without(caller, batch):
    assert caller(Replica(skips=True)).call(failing(1, [])) is None
    assert batch.restored == 0  # what is in hand just now had no part in it


def test_in_a_shared_thread_what_came_before_goes_on_first_and_then_it_fails(caller, batch):
    replica, results = Replica(), ListedResults()
    replica.shares_thread = True
    patient = caller(replica)

    def code(work):
        results.append("of the first")
        raise UnavailableError("it is away")

    assert patient.call(code, batch.work, None, results) == ["of the first"]
    assert replica.attempts == []
    with pytest.raises(UnavailableError):
        patient.call(code, batch.work[1:], None, ListedResults())
    assert results == ["of the first"]  # the second was not called again


def test_a_flush_in_between_does_not_meet_the_failure_of_a_message(caller, batch):
    replica, results = Replica(), ListedResults(["of the first"])
    replica.shares_thread = True
    patient = caller(replica)
    patient.call(failing(1, []), batch.work, None, results)
    assert patient.call(failing(0, [])) == "done"
    with pytest.raises(UnavailableError):
        patient.call(failing(0, []), batch.work[1:])
