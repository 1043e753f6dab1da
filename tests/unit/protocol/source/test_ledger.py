from __future__ import annotations

import msgspec
import pytest

from arroyo.codec import Ack, Batch, Kind, Reason, Shared, Tombstone
from arroyo.messages import SlabReference
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.values.batches import OutgoingBatch, positions_of
from arroyo.protocol.values.paths import Terminal
from arroyo.protocol.values.ranges import RangeSet

HEADER = Batch("", 0, 0, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0)


def ship(ledger, count, kind=Kind.EVENTS, now=0.0, tokens=None):
    first = ledger.next
    header = msgspec.structs.replace(HEADER, kind=kind, ranges=((first, first + count),))
    items = [f"m{number}" for number in range(first, first + count)]
    load = OutgoingBatch(header, items, 10 * count)
    ledger.add(load, count, tokens or [f"t{n}" for n in range(first, first + count)], now)


def ack(*ranges, path=0, replica=0, stones=(), parts=(), taken=0):
    return Ack("b", replica, "s.0", 1, path, ranges, stones, parts, taken)


@pytest.fixture
def ledger():
    return Ledger([Terminal("b", 1), Terminal("c", 2)])


def again(ledger, paths=(0, 1), before=9.0, waiting=(), with_order=False):
    loads = ledger.unfinished(paths, before, RangeSet(waiting), attempt=3, with_order=with_order)
    return list(loads)


def test_of_what_is_held_counts_what_has_come_again_so_far(ledger):
    ledger.sent_before = 4
    ship(ledger, 1)
    for path in (0, 1):
        ledger.acknowledge(ack((0, 3), path=path, taken=7))  # said in one record, of two batches
        ledger.acknowledge(ack((0, 9), path=path, taken=7))  # more than was ever sent
    assert ledger.quiet
    ship(ledger, 1)
    assert not ledger.quiet


def test_what_comes_again_has_the_size_that_it_has(ledger):
    items = [Shared(b"m", SlabReference("pool", 0, 50_000_000, 1)), b"mm", b"mmm"]
    header = msgspec.structs.replace(HEADER, ranges=((0, 3),))
    ledger.add(OutgoingBatch(header, items, sum(map(len, items))), 3, [None] * 3, 0.0)
    ledger.acknowledge(ack((0, 1), path=0))
    assert [(load.items, load.size) for load in again(ledger, paths=(0,))] == [(items[1:], 5)]
    assert [load.size for load in again(ledger, paths=(1,))] == [50_000_006]


def test_a_message_is_finished_when_every_path_says_so(ledger):
    ship(ledger, 3)
    ledger.acknowledge(ack((0, 3), path=0))
    assert ledger.advance(1.0) is None
    ledger.acknowledge(ack((0, 2), path=1))
    freed = ledger.advance(1.0)
    assert (freed.messages, freed.tokens, freed.size) == (2, ["t0", "t1"], 0)
    ledger.acknowledge(ack((2, 3), path=1))
    freed = ledger.advance(2.0)
    assert (freed.messages, freed.tokens, freed.size, freed.delay_s) == (1, ["t2"], 30, 2.0)
    assert ledger.empty


def test_the_frontier_waits_for_the_oldest(ledger):
    ship(ledger, 4)
    for path in (0, 1):
        ledger.acknowledge(ack((2, 4), path=path))
    assert ledger.advance(0.0) is None
    for path in (0, 1):
        ledger.acknowledge(ack((0, 2), path=path))
    assert ledger.advance(0.0).tokens == ["t0", "t1", "t2", "t3"]


def test_a_split_message_is_finished_with_its_last_part(ledger):
    ship(ledger, 1)
    ledger.acknowledge(ack((0, 1), path=0))
    parts = [((0, 2),), ((1, 2), (0, 2)), ((1, 2), (1, 2))]
    for part in parts:
        assert ledger.advance(0.0) is None
        ledger.acknowledge(ack(path=1, parts=((0, part),)))
    assert ledger.advance(0.0).messages == 1


def test_each_replica_of_a_terminal_stage_has_to_see_start_and_stop(ledger):
    ship(ledger, 1, Kind.START)
    ledger.acknowledge(ack((0, 1), path=0))
    ledger.acknowledge(ack((0, 1), path=1, replica=1))
    ledger.acknowledge(ack((0, 1), path=1, replica=1))
    assert ledger.advance(0.0) is None
    ledger.acknowledge(ack((0, 1), path=1, replica=0))
    assert ledger.advance(0.0).messages == 1


def test_what_ended_on_the_way_is_counted_by_its_reason_once(ledger):
    ship(ledger, 6)
    stones = (Tombstone(0, 2, Reason.FILTERED), Tombstone(4, 5, Reason.SKIPPED))
    for path in (0, 1, 0):
        ledger.acknowledge(ack((2, 4), (5, 6), path=path, stones=stones))
    assert ledger.advance(0.0).messages == 6
    assert ledger.take_buried() == {Reason.FILTERED: 2, Reason.SKIPPED: 1}
    assert ledger.take_buried() == {}


def test_only_what_is_not_finished_is_sent_again(ledger):
    ship(ledger, 5)
    for path in (0, 1):
        ledger.acknowledge(ack((1, 3), path=path))
    (load,) = again(ledger)
    assert load.items == ["m0", "m3", "m4"]
    assert positions_of(load.header) == [(0, ()), (3, ()), (4, ())]
    assert load.header.attempt == 3
    assert load.header.tombstones == ()


def test_an_outlet_sends_again_what_one_of_its_own_paths_lacks(ledger):
    ship(ledger, 2)
    ledger.acknowledge(ack((0, 2), path=0))
    assert again(ledger, paths=(0,)) == []
    assert [load.items for load in again(ledger, paths=(1,))] == [["m0", "m1"]]


def test_what_has_not_left_is_not_lost(ledger):
    ship(ledger, 4)
    (load,) = again(ledger, waiting=[(2, 4)])
    assert load.items == ["m0", "m1"]


def test_what_left_after_the_loss_is_not_sent_again(ledger):
    ship(ledger, 1, now=1.0)
    ship(ledger, 1, now=3.0)
    assert [load.items for load in again(ledger, before=2.0)] == [["m0"]]
    ledger.mark_sent(2.0, 5.0)
    assert [load.items for load in again(ledger, before=4.0)] == [["m1"]]


def test_a_stage_that_restores_order_is_told_the_places_of_what_is_finished(ledger):
    ship(ledger, 1, Kind.START)
    ship(ledger, 4)
    for path in (0, 1):
        for replica in (0, 1):
            ledger.acknowledge(ack((0, 1), path=path, replica=replica))
        ledger.acknowledge(ack((2, 3), path=path))
    assert ledger.advance(0.0).messages == 1
    (load,) = again(ledger, with_order=True)
    assert load.items == ["m1", "m3", "m4"]
    assert load.header.tombstones == (Tombstone(2, 3, Reason.FINISHED),)
    assert load.header.frontier == 1


def test_what_ended_on_its_way_is_told_again_as_such(ledger):
    """Or the next life of the source might hear that it is finished, and never how."""
    ship(ledger, 4)
    ledger.acknowledge(ack((1, 2), path=0, stones=(Tombstone(2, 4, Reason.FILTERED),)))
    (load,) = again(ledger, paths=(0,), with_order=True)
    stones = load.header.tombstones
    assert Tombstone(1, 4, Reason.FINISHED) in stones
    assert Tombstone(2, 4, Reason.FILTERED) in stones


def test_start_and_stop_are_acknowledged_by_each_replica_even_together_with_others(ledger):
    ship(ledger, 1)
    ship(ledger, 1, Kind.STOP)
    ship(ledger, 1, Kind.START)
    ship(ledger, 1)
    ledger.acknowledge(ack((0, 4), path=0))
    ledger.acknowledge(ack((0, 4), path=1, replica=0))
    ledger.advance(0.0)
    assert ledger.frontier == 1
    ledger.acknowledge(ack((1, 3), path=1, replica=1))
    ledger.advance(0.0)
    assert ledger.empty


def test_a_former_life_may_be_told_of_more_than_has_come_again_yet():
    ledger = Ledger([Terminal("b", 1)], first=5)
    ledger.sent_before = 9
    ship(ledger, 2)
    ledger.acknowledge(ack((5, 8), stones=(Tombstone(8, 9, Reason.FILTERED),)))
    ledger.advance(0.0)
    assert ledger.frontier == 7
    ship(ledger, 2)
    assert ledger.advance(0.0) is None


def test_it_is_quiet_when_everything_is_finished_or_held_on_every_path(ledger):
    assert ledger.quiet
    ship(ledger, 4)
    ledger.acknowledge(ack((0, 4), path=0, taken=7))
    ledger.acknowledge(ack((0, 2), path=1))
    assert not ledger.quiet
    ledger.acknowledge(ack((2, 4), path=1, taken=8, replica=1))
    assert ledger.quiet
    assert ledger.holders == (("b", 0, 7), ("b", 1, 8))
    assert ledger.advance(0.0) is None
    assert not ledger.empty


def test_who_holds_something_on_several_paths_is_named_once(ledger):
    ship(ledger, 4)
    ledger.acknowledge(msgspec.structs.replace(ack((0, 4), taken=7), paths=2))
    assert ledger.quiet
    assert ledger.holders == (("b", 0, 7),)


def test_a_fold_speaks_for_all_paths_that_go_on_below_it(ledger):
    ship(ledger, 4)
    ledger.acknowledge(msgspec.structs.replace(ack((0, 4)), paths=2))
    assert ledger.advance(0.0).messages == 4


def test_a_fold_says_how_many_of_its_replicas_have_to_see_a_start(ledger):
    ship(ledger, 1, Kind.START)
    for replica in range(3):
        assert ledger.advance(0.0) is None
        told = ack((0, 1), replica=replica)
        ledger.acknowledge(msgspec.structs.replace(told, paths=2, replicas=3))
    assert ledger.advance(0.0).messages == 1


def test_nobody_holds_what_is_finished(ledger):
    ship(ledger, 4)
    ledger.acknowledge(msgspec.structs.replace(ack((0, 4), taken=7), paths=2))
    ledger.acknowledge(msgspec.structs.replace(ack((0, 4)), paths=2))
    ledger.advance(0.0)
    assert ledger.holders == ()


def test_what_a_dead_life_held_is_sent_again_and_what_a_living_one_holds_is_not(ledger):
    ship(ledger, 4)
    ledger.acknowledge(msgspec.structs.replace(ack((0, 2), taken=7), paths=2))
    ledger.acknowledge(msgspec.structs.replace(ack((2, 4), taken=7, replica=1), paths=2))
    assert again(ledger) == []
    ledger.forget_taken("b", 0, 9)
    assert [load.items for load in again(ledger)] == [["m0", "m1"]]
    assert not ledger.quiet


def test_what_is_held_is_sent_again_where_its_place_is_needed(ledger):
    ship(ledger, 2)
    ledger.acknowledge(msgspec.structs.replace(ack((0, 2), taken=7), paths=2))
    (load,) = again(ledger, with_order=True)
    assert (load.items, load.header.tombstones) == (["m0", "m1"], ())


def test_nobody_can_hold_what_was_never_sent(ledger):
    ship(ledger, 2)
    ledger.acknowledge(msgspec.structs.replace(ack((0, 9), taken=7), paths=2))
    assert ledger.holders == ()


def test_nonsense_from_a_confused_peer_changes_nothing(ledger):
    ship(ledger, 2)
    ledger.acknowledge(ack((0, 9), path=0))
    ledger.acknowledge(ack((0, 2), path=7))
    ledger.acknowledge(ack((0, 2), path=1, taken=7))
    ledger.acknowledge(ack(path=1, parts=((5, ((0, 1),)),)))
    ledger.acknowledge(ack(path=0, stones=(Tombstone(0, 1 << 60, Reason.FILTERED),)))
    assert ledger.advance(0.0) is None
    assert [load.items for load in again(ledger)] == [["m0", "m1"]]


def test_what_was_finished_while_it_waited_is_left_out(ledger):
    ship(ledger, 4)
    ledger.acknowledge(ack((1, 3), path=0))
    ledger.acknowledge(ack((1, 2), (3, 4), path=1))
    (load,) = again(ledger, paths=(0,), before=9.0)
    load.header = msgspec.structs.replace(load.header, ranges=((0, 4),))
    load.items, load.keys = [b"a", b"b", b"c", b"d"], [7, 8, 9, 10]
    left = ledger.without_finished((0,), load, with_order=False)
    assert (left.header.ranges, left.items, left.keys) == (((0, 1), (3, 4)), [b"a", b"d"], [7, 10])
    assert left.header.tombstones == ()
    left = ledger.without_finished((0, 1), load, with_order=True)
    assert left.header.ranges == ((0, 1), (2, 4))
    assert left.header.tombstones == (Tombstone(1, 2, Reason.FINISHED),)


def test_a_load_of_which_nothing_is_finished_stays_as_it_is(ledger):
    ship(ledger, 4)
    (load,) = again(ledger)
    assert ledger.without_finished((0, 1), load, with_order=True) is load
