"""Which run a listener's messages are of, and what their Stops tell of drops."""

import pytest

from arroyo import Event, Start, Stop
from arroyo.codec import Kind, MessageCodec, join
from arroyo.protocol.values.run_totals import RunTotals
from arroyo.runner.intake.window_batch import WindowBatch
from arroyo.runner.intake.window_runs import WindowRuns

CODEC = MessageCodec(())


@pytest.fixture
def runs():
    return WindowRuns(CODEC)


def hand_over(runs, kind, message, *, dropped=0):
    run = runs.note(kind)
    run.dropped += dropped
    batch = WindowBatch(kind, run, message)
    if kind is not Kind.STOP:
        batch.add(CODEC.encode(message), 10, None, None)
    return batch


def stop_made_by(make_stop):
    body, places, payloads = join([make_stop(RunTotals(sent=5))])
    (stop,) = CODEC.decode(bytes(body), places, payloads)
    return stop


def test_the_stop_tells_what_was_dropped_of_its_run_and_keeps_what_the_listener_said(runs):
    batches = [
        hand_over(runs, Kind.START, Start()),
        hand_over(runs, Kind.EVENTS, Event(), dropped=3),
        hand_over(runs, Kind.STOP, Stop({"mean": 1.5})),
        hand_over(runs, Kind.START, Start()),
    ]
    found = [runs.take(batch) for batch in batches]
    stop = stop_made_by(found[2].make_stop)
    assert stop.data["mean"] == 1.5
    assert stop.data["totals"]["dropped"] == 3
    assert [each.kind for each in found] == [Kind.START, Kind.EVENTS, Kind.STOP, Kind.START]


def test_an_early_stop_is_of_the_oldest_open_run(runs):
    runs.take(hand_over(runs, Kind.START, Start(), dropped=1))
    hand_over(runs, Kind.START, Start(), dropped=7)  # has not left yet
    stop = stop_made_by(runs.early_stop("the listener ended"))
    assert stop.data["reason"] == "the listener ended"
    assert stop.data["totals"]["dropped"] == 1


def test_events_without_a_start_are_a_run_that_needs_no_reason(runs):
    runs.take(hand_over(runs, Kind.EVENTS, Event(), dropped=2))
    stop = stop_made_by(runs.early_stop(""))
    assert "reason" not in stop.data
    assert stop.data["totals"]["dropped"] == 2


def test_a_start_ends_what_came_without_one(runs):
    runs.take(hand_over(runs, Kind.EVENTS, Event(), dropped=2))
    runs.take(hand_over(runs, Kind.START, Start(), dropped=5))
    assert stop_made_by(runs.early_stop("ended")).data["totals"]["dropped"] == 5


def test_a_run_of_the_life_before_may_be_stopped_before_anything_is_handed_over(runs):
    assert stop_made_by(runs.early_stop("ended")).data["reason"] == "ended"
