from __future__ import annotations

from functools import partial

import pytest
from batches import make_batch
from msgspec import structs
from unit.protocol.source.test_source import Sink, brief

from arroyo.codec import Ack, Hello, Kind
from arroyo.protocol.recovery.unclosed_run import NoteCounts, NoteRuns, UnclosedRun
from arroyo.protocol.recovery.volatile import UnclosedStop, Volatile
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values.actions import Release, Transmit
from arroyo.protocol.values.batches import OutgoingBatch

FORMER = UnclosedRun("before", 9, 1, "start", 6, 4, "stop")
EARLIER = UnclosedRun("earlier", 8, 1, "earlier start", 3, 3, "earlier stop")
LATER = structs.replace(
    FORMER, run="later", base=8, start="later start", next=12, stop="later stop"
)


def volatile(**options):
    return Sink(recover=partial(Volatile, epoch=1), **options)


def close_former(sink, *runs):
    return sink.take(sink.source.begin(0.0, runs))


def acknowledge_former(sink, *ranges, epoch=9):
    return sink.take(sink.source.record(Ack("b", 0, "s.0", epoch, 0, ranges), 0.0))


def noted(sink):
    """What the source has had noted last."""
    return [each.runs for each in sink.actions if isinstance(each, NoteRuns)][-1]


def runs(sink):
    """The same, whatever the attempts in which their Stops have left."""
    return tuple(structs.replace(run, attempt=0) for run in noted(sink))


def names(sink):
    return [(run.run, run.stop is not None) for run in noted(sink)]


def test_the_stop_of_a_former_run_goes_behind_its_start_as_if_of_the_former_life():
    sink = volatile()
    (start, _), (stop, _) = close_former(sink, FORMER)
    assert (start.kind, start.run, start.epoch, start.ranges) == (
        Kind.START,
        "before",
        9,
        ((0, 1),),
    )
    assert (stop.kind, stop.run, stop.epoch, stop.ranges) == (Kind.STOP, "before", 9, ((6, 7),))
    assert start.attempt == stop.attempt > 0


def test_a_third_life_speaks_louder_than_the_second_though_its_clock_is_behind():
    second = volatile()
    close_former(second, FORMER)
    (left,) = noted(second)
    third = volatile()  # of the same incarnation
    (start, _), (stop, _) = close_former(third, left)
    assert start.attempt == stop.attempt > left.attempt + 1_000_000


def test_the_stop_of_a_former_run_stays_until_it_is_acknowledged():
    sink = volatile()
    close_former(sink, FORMER)
    acknowledge_former(sink, (0, 6))  # it came late, and there is nothing left to be done about it
    sink.acknowledge((6, 7))
    assert runs(sink) == (FORMER,)
    acknowledge_former(sink, (6, 7))
    assert noted(sink) == ()
    assert sink.source.ledger.empty


def test_the_stop_of_a_former_run_comes_again_to_a_replica_that_was_not_there():
    sink = volatile()
    close_former(sink, FORMER)
    sink.accept(Kind.START, "next")
    sink.take(sink.source.record(Hello(1, "b", 0, 2), 0.0))
    again = sink.take(sink.source.tick(5.0))
    assert brief(again)[:2] == [
        (Kind.START, "before", ["start"]),
        (Kind.STOP, "before", ["stop"]),
    ]
    assert again[1][0].ranges == ((6, 7),)
    assert again[0][0].attempt == again[1][0].attempt > 1
    acknowledge_former(sink, (6, 7))
    sink.acknowledge((1, 2))
    assert sink.source.ledger.empty


def test_each_of_several_former_runs_is_closed_and_comes_again_behind_its_own_start():
    sink = volatile()
    sent = brief(close_former(sink, EARLIER, FORMER, LATER))
    assert sent == [
        (Kind.START, "earlier", ["earlier start"]),
        (Kind.STOP, "earlier", ["earlier stop"]),
        (Kind.START, "before", ["start"]),
        (Kind.STOP, "before", ["stop"]),
        (Kind.START, "later", ["later start"]),
        (Kind.STOP, "later", ["later stop"]),
    ]
    # One acknowledgement for two runs of the same life, and none of another's.
    acknowledge_former(sink, (6, 7), (12, 13))
    assert runs(sink) == (EARLIER, FORMER, LATER)
    sink.take(sink.source.record(Hello(1, "b", 0, 2), 0.0))
    assert brief(sink.take(sink.source.tick(5.0))) == sent[:2]
    acknowledge_former(sink, (3, 4), epoch=8)
    assert noted(sink) == ()
    assert sink.source.ledger.empty


def test_a_former_run_without_a_start_is_closed_without_one():
    sink = volatile()
    ((stop, items),) = close_former(sink, structs.replace(FORMER, start=None))
    assert (stop.kind, stop.implicit, items) == (Kind.STOP, True, ["stop"])
    sink.take(sink.source.record(Hello(1, "b", 0, 2), 0.0))
    assert brief(sink.take(sink.source.tick(5.0))) == [(Kind.STOP, "before", ["stop"])]


def test_by_pub_sub_alone_nobody_acknowledges_it():
    sink = volatile(pub_sub=True, push_pull=False)
    sent = close_former(sink, EARLIER, FORMER)
    assert [kind for kind, *_ in brief(sent)] == [Kind.START, Kind.STOP] * 2
    assert noted(sink) == ()
    assert sink.source.ledger.empty


def test_a_run_is_noted_before_anything_of_it_leaves_until_its_stop_is_acknowledged():
    sink = volatile()
    sink.accept(Kind.START, "start")
    assert noted(sink) == (UnclosedRun("run1", 1, 1, "start"),)
    assert [type(each) for each in sink.actions[-3:]] == [NoteRuns, NoteCounts, Transmit]
    sink.accept(Kind.EVENTS, "a", "b")
    sink.acknowledge((0, 3))
    ((_, (totals,)),) = sink.stop()
    assert noted(sink) == (UnclosedRun("run1", 1, 1, "start", 3, 3, totals),)
    assert [type(each) for each in sink.actions[-3:]] == [NoteRuns, NoteCounts, Transmit]
    sink.accept(Kind.START, "next")
    assert names(sink) == [("run1", True), ("run2", False)]
    sink.acknowledge((3, 4))
    assert names(sink) == [("run2", False)]


def test_a_run_without_a_start_is_noted_too_since_something_of_it_may_get_lost():
    sink = volatile()
    sink.accept(Kind.EVENTS, "a")
    assert noted(sink) == (UnclosedRun("run1", 1, 0),)
    assert [type(each) for each in sink.actions[-3:]] == [NoteRuns, NoteCounts, Transmit]


def test_a_run_begins_beside_the_former_ones_that_somebody_has_not_acknowledged():
    sink = volatile()
    close_former(sink, EARLIER, FORMER)
    sink.accept(Kind.START, "start")
    acknowledge_former(sink, (3, 4), epoch=8)
    assert names(sink) == [("before", True), ("run1", False)]


def test_what_is_no_event_of_the_listener_has_its_place_counted():
    sink = volatile()
    close_former(sink, EARLIER, FORMER)
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a", "b")
    returned = InputBatch(Kind.EVENTS, ["c"], (None,), 1, enters="b")
    sink.take(sink.source.accept(returned, 0.0))
    counts = [each for each in sink.actions if isinstance(each, NoteCounts)][-1]
    assert counts.next - counts.controls == 2


def test_what_leaves_is_counted_before_and_what_is_finished_before_it_is_released():
    sink = volatile()
    sink.accept(Kind.EVENTS, "a", "b")
    assert sink.actions[-2] == NoteCounts(2, 0, 0)
    assert isinstance(sink.actions[-1], Transmit)
    sink.acknowledge((0, 2))
    assert sink.actions[-2] == NoteCounts(2, 2, 0)
    assert isinstance(sink.actions[-1], Release)


LEFT_OPEN = UnclosedRun("scan", epoch=5, base=11, start=b"start", next=20, frontier=15, attempt=3)
PLACE = 2


def batch_of(kind, item, **fields):
    header = make_batch(kind=kind, run="scan", epoch=9, ranges=((PLACE, PLACE + 1),), **fields)
    return OutgoingBatch(header, [item], len(item))


START, STOP = batch_of(Kind.START, b"start"), batch_of(Kind.STOP, b"stop", attempt=1)


def ack(*ranges, epoch=5, taken=False):
    return Ack("sink", 0, "src.0", epoch, 0, ranges, taken=taken)


def test_it_leaves_behind_its_start_as_the_former_life_would_have_sent_them():
    start, stop = UnclosedStop(LEFT_OPEN, PLACE, START).batches(STOP)
    assert (start.items, start.header.ranges) == ([b"start"], ((10, 11),))
    assert (stop.items, stop.header.ranges) == ([b"stop"], ((20, 21),))
    for each in (start, stop):
        header = each.header
        assert (header.epoch, header.frontier, header.attempt) == (5, 15, 4)


def test_of_a_run_without_a_start_the_stop_leaves_alone():
    (stop,) = UnclosedStop(LEFT_OPEN, PLACE, None).batches(STOP)
    assert stop.header.kind == Kind.STOP


@pytest.mark.parametrize("ranges", [((20, 21),), ((10, 11), (18, 25))])
def test_what_acknowledges_it_finishes_its_place(ranges):
    assert UnclosedStop(LEFT_OPEN, PLACE, START).translate(ack(*ranges)) == ((PLACE, PLACE + 1),)


@pytest.mark.parametrize(
    "record",
    [ack((10, 20)), ack(), ack((20, 21), epoch=9), ack((20, 21), taken=True)],
    ids=["before it", "nothing", "of another life", "taken and not finished"],
)
def test_anything_else_came_too_late(record):
    assert UnclosedStop(LEFT_OPEN, PLACE, START).translate(record) == ()
