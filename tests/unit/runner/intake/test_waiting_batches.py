import pytest

from arroyo.codec import Kind
from arroyo.runner.intake.waiting_batches import WaitingBatches
from arroyo.runner.intake.window_batch import WindowBatch, WindowRun

FIRST, SECOND = WindowRun(), WindowRun()


def batch(kind, run, *items):
    made = WindowBatch(kind, run, None)
    for item in items:
        made.add(item, len(item), None, None)
    return made


@pytest.fixture
def waiting():
    """Two events of a run, its Stop, and an event of the next run."""
    made = WaitingBatches()
    made.begin(batch(Kind.EVENTS, FIRST, b"a", b"bc"))
    made.begin(batch(Kind.STOP, FIRST, b"stop"))
    made.begin(batch(Kind.EVENTS, SECOND, b"def"))
    return made


def test_events_join_the_last_batch_of_events(waiting):
    assert waiting.open.run is SECOND
    assert not waiting.first_is_open
    waiting.begin(batch(Kind.START, SECOND, b"start"))
    assert waiting.open is None


def test_a_batch_of_large_messages_is_closed_for_those_that_can_not_come(waiting):
    assert waiting.close_frames()
    assert waiting.open is None
    assert not waiting.close_frames()
    small = waiting.begin(WindowBatch(Kind.EVENTS, SECOND, None, packs=True))
    assert not waiting.close_frames()
    assert waiting.open is small


def test_what_waits_is_counted(waiting):
    assert (waiting.messages, waiting.size) == (4, 10)
    assert waiting.events_of_first_run == 2
    assert WaitingBatches().events_of_first_run is None


def test_a_batch_may_be_taken_in_parts(waiting):
    assert list(waiting.pop(1).items) == [b"a"]
    assert list(waiting.pop(1).items) == [b"bc"]
    assert waiting.pop(1).kind is Kind.STOP
    assert waiting.first_is_open
    assert waiting.pop(1).run is SECOND
    assert (waiting.open, bool(waiting)) == (None, False)


def test_the_oldest_events_are_dropped_and_no_start_or_stop(waiting):
    dropped = [waiting.drop_oldest() for _ in range(3)]
    assert [(each.run, len(each.item), each.is_first) for each in dropped] == [
        *((FIRST, 1, True), (FIRST, 2, True), (SECOND, 3, False))
    ]
    assert waiting.drop_oldest() is None
    assert waiting.pop(1).kind is Kind.STOP
    assert waiting.open is None
