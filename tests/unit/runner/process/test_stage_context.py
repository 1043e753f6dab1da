import gc
import os
import signal
import threading

import pytest
from stage_fakes import line_of

from arroyo import Event
from arroyo.codec import Hello, Refuse
from arroyo.config.folders import Folders
from arroyo.control.notify import Notifier, NotifySocket
from arroyo.errors import DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.history import History
from arroyo.runner.process.stage_context import LOGGED_REJECTS, StageContext
from arroyo.telemetry.status_page import read_status_page, read_whole_page
from arroyo.telemetry.status_words import Phase

WORK = ReplicaName("work", 0)


@pytest.fixture
def signals_as_before():
    numbers = set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def keeps_collector():
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.fixture
def make(tmp_path):
    """Make the context of an operator's replica that hears nobody."""
    made = []

    def make_one(notifier=None, lifeline=None):
        chain = line_of(
            tmp_path,
            ("listener", "src", "own:Src", {}),
            ("operator", "work", "own:Work", {}),
            ("publisher", "sink", "own:Sink", {}),
        )
        folders = Folders.at(str(tmp_path / "run"), str(tmp_path / "state"))
        folders.create()
        made.append(
            StageContext(chain, WORK, folders, notifier or Notifier(), lifeline, history=History())
        )
        return made[-1]

    yield make_one
    for context in made:
        context.page.close()
        context.payloads.close()


def counts(context):
    return read_status_page(context.page_path)


def test_each_life_has_a_number_of_its_own_which_stands_on_the_page(make):
    numbers = [make().incarnation for _ in range(3)]
    assert numbers == sorted(set(numbers))
    context = make()
    assert counts(context)["incarnation"] == context.incarnation
    assert counts(context)["pid"] == os.getpid()


def test_the_phase_on_the_page_says_since_when_and_not_later_by_being_said_again(make):
    context = make()
    context.enter(Phase.IDLE)
    since = counts(context)["phase_since_ns"]
    context.enter(Phase.IDLE)
    assert counts(context)["phase"] == Phase.IDLE
    assert counts(context)["phase_since_ns"] == since
    context.enter(Phase.PROCESS)
    assert counts(context)["phase_since_ns"] > since


def test_each_wait_for_the_outside_world_is_counted(make, signals_as_before):
    with make() as context:
        assert [context.note_waiting(), context.note_waiting()] == [False, False]
        assert counts(context)["waits"] == 2
        os.kill(os.getpid(), signal.SIGTERM)
        assert context.note_waiting()


def test_what_is_waited_for_is_on_the_page(make, signals_as_before):
    with make() as context:
        context.note_waiting()
        assert read_whole_page(context.page_path).waiting(context.now_ns()) is None
        context.note_waiting("no beam")
        assert read_whole_page(context.page_path).waiting(context.now_ns()).why == "no beam"


def test_frames_that_are_no_records_are_counted_and_only_the_first_are_logged(make, caplog):
    context = make()
    for number in range(LOGGED_REJECTS + 5):
        context._reject(DecodeError(f"no record {number}"))
    assert context.rejected == LOGGED_REJECTS + 5
    assert caplog.messages == [f"refused: no record {number}" for number in range(LOGGED_REJECTS)]


def test_a_neighbour_is_told_of_once_in_each_of_its_lives(make, caplog):
    caplog.set_level("INFO")
    context = make()
    for incarnation in (1, 1, 2):
        context.note(Hello(1, "sink", 0, incarnation))
    assert caplog.messages == ["sink.0 connected"] * 2


@pytest.mark.logs_errors("refuses: another version")
def test_a_refusal_from_below_is_an_error_with_its_reason(make, caplog):
    make().note(Refuse("sink", 0, 2, "another version"))
    assert caplog.messages == ["sink.0 refuses: another version"]


def test_what_it_has_encoded_it_can_read_back(make):
    context = make()
    for size in (10, 100_000):
        item = context.codec.encode(Event({"index": 4}, bytes(size)))
        assert len(context.decode(item).payload) == size
        context.payloads.give_back([item])


def test_ready_and_stopping_are_said_and_stand_on_the_page(make, tmp_path, keeps_collector):
    socket = NotifySocket(tmp_path / "notify")
    try:
        context = make(Notifier(str(tmp_path / "notify")))
        context.report_ready("working")
        assert counts(context)["ready_since_ns"] > 0
        context.report_stopping()
        assert counts(context)["phase"] == Phase.DRAIN
        said = [fields for _, fields in socket.receive()]
    finally:
        socket.close()
    assert said[0] == {"READY": "1", "STATUS": "working"}
    assert said[-1]["STOPPING"] == "1"


def test_the_death_of_the_supervisor_asks_to_drain(make, signals_as_before, caplog):
    lifeline, supervisor = os.pipe()
    with make(lifeline=lifeline) as context:
        assert not context.signals.asked
        os.close(supervisor)
        deadline = threading.Event()
        while not context.signals.asked:
            deadline.wait(0.005)
        assert context.signals.orphaned
    os.close(lifeline)
    assert "the supervisor has died; draining" in caplog.messages


@pytest.mark.parametrize(("is_done", "phase"), [(True, Phase.ENDED), (False, Phase.CLOSED)])
def test_at_its_end_the_page_says_whether_its_work_was_done_and_late_signals_are_ignored(
    make, signals_as_before, is_done, phase
):
    with make() as context:
        path = context.page_path
        context.is_done = is_done
    assert read_status_page(path)["phase"] == phase
    os.kill(os.getpid(), signal.SIGTERM)


def test_an_operator_hears_above_and_below_by_sockets_in_the_run_directory(
    make, signals_as_before, tmp_path
):
    with make():
        sockets = [path.relative_to(tmp_path / "run") for path in tmp_path.glob("run/*/work.0")]
        assert {"in/work.0", "back/work.0"} <= set(map(str, sockets))
