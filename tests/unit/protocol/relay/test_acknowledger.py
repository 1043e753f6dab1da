"""What a terminal acknowledges, and when."""

import pytest
from batches import make_batch

from arroyo.codec import Reason, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.protocol.relay.acknowledger import Acknowledger
from arroyo.protocol.values.deliveries import Output, origins_of

NAME = ReplicaName("sink", 0)
DONE, SKIPPED = Output(), Output(reason=Reason.SKIPPED)


@pytest.fixture
def at_once():
    return Acknowledger(NAME, flushes=False)


@pytest.fixture
def flushing():
    return Acknowledger(NAME, flushes=True)


def finish(acknowledger, first, *outputs, **fields):
    """Work on whole messages from `first` on, and return the acknowledgement."""
    end = first + len(outputs)
    work = [(sequence, (), None) for sequence in range(first, end)]
    return acknowledger.finish(make_batch(ranges=((first, end),), **fields), work, outputs)


def ranges(acks):
    return [ack.ranges for ack in acks]


def test_what_is_done_is_acknowledged_at_once_on_its_path(at_once):
    ack = finish(at_once, 5, DONE, DONE, path=2)
    assert (ack.stage, ack.replica, ack.source, ack.path) == ("sink", 0, "src.0", 2)
    assert (ack.ranges, ack.tombstones) == (((5, 7),), ())


def test_what_ended_here_or_above_is_told_with_its_reason(at_once):
    above = Tombstone(3, 5, Reason.FILTERED)
    ack = finish(at_once, 5, SKIPPED, DONE, SKIPPED, tombstones=(above,))
    assert ack.ranges == ((6, 7),)
    assert ack.tombstones == (
        above,
        Tombstone(5, 6, Reason.SKIPPED),
        Tombstone(7, 8, Reason.SKIPPED),
    )


def test_parts_of_a_message_are_acknowledged_as_parts(at_once):
    half = ((0, 2),)
    ack = at_once.finish(make_batch(ranges=((5, 6),)), [(5, half, None)], [DONE])
    assert (ack.ranges, ack.fragments) == ((), ((5, half),))


def test_of_nothing_there_is_nothing_to_tell(at_once):
    assert at_once.finish(make_batch(ranges=()), [], []) is None


def test_what_is_finished_is_remembered(at_once):
    batch = make_batch(ranges=((5, 7),))
    at_once.finish_whole(batch)
    assert at_once.known.left_out(make_batch(ranges=((5, 8),)), [(7, (), None)]) == [
        (5, ()),
        (6, ()),
    ]


def test_where_it_flushes_all_waits_for_the_flush_in_order(flushing):
    assert finish(flushing, 0, DONE) is None
    assert finish(flushing, 1, DONE) is None
    assert ranges(flushing.flushed()) == [((0, 1),), ((1, 2),)]
    assert flushing.flushed() == []


def test_what_was_finished_before_a_flush_began_is_safe_when_that_is_over(flushing):
    finish(flushing, 0, DONE)
    flushing.begin_flush()
    finish(flushing, 1, DONE)
    assert ranges(flushing.flushed(begun=True)) == [((0, 1),)]
    assert ranges(flushing.flushed()) == [((1, 2),)]


def test_without_anything_published_it_is_told_at_once_but_not_before_what_waits(flushing):
    nothing = make_batch(ranges=(), tombstones=(Tombstone(0, 2, Reason.FILTERED),))
    assert flushing.finish(nothing, [], []) is not None
    finish(flushing, 2, DONE)
    later = make_batch(ranges=(), tombstones=(Tombstone(3, 4, Reason.FILTERED),))
    assert flushing.finish(later, [], []) is None
    flushing.begin_flush()
    # No later flush need ever come for the second.
    assert len(flushing.flushed(begun=True)) == 2


def test_what_was_done_before_is_acknowledged_again_without_a_flush(flushing):
    assert flushing.finish_whole(make_batch(), again=True).ranges == ((0, 2),)
    assert flushing.finish_whole(make_batch()) is None


def test_what_a_flush_has_refused_ends_and_the_others_are_published(flushing):
    batch = make_batch(ranges=((0, 4),))
    half = ((1, 2),)
    work = [(0, (), None), (1, (), None), (2, (), None), (3, half, None)]
    flushing.finish(batch, work, [DONE] * 4)
    origin_of = origins_of(batch)
    refused = {origin_of(1, ()): Reason.QUARANTINED, origin_of(3, half): Reason.SKIPPED}
    (ack,) = flushing.flushed(refused)
    assert ack.ranges == ((0, 1), (2, 3))
    assert ack.fragments == ()
    assert {(stone.first, stone.end, stone.reason) for stone in ack.tombstones} == {
        (1, 2, Reason.QUARANTINED),
        (3, 4, Reason.SKIPPED),
    }
