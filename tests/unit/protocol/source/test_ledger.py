from __future__ import annotations

import msgspec
import pytest

from arroyo.codec import Ack, Batch, Kind, Reason, Tombstone
from arroyo.protocol.source.ledger import Ledger, Tombstones
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.paths import Terminal

HEADER = Batch("", 0, 0, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0)


def ship(ledger, count, kind=Kind.EVENTS, now=0.0, tokens=None):
    first = ledger.next
    header = msgspec.structs.replace(HEADER, kind=kind, ranges=((first, first + count),))
    items = [f"m{number}" for number in range(first, first + count)]
    tokens = tokens or [f"t{number}" for number in range(first, first + count)]
    ledger.add(OutgoingBatch(header, items, 10 * count), tokens, now)


def ack(*ranges, path=0, replica=0, stones=(), parts=(), taken=0):
    return Ack("b", replica, "s.0", 1, path, ranges, stones, parts, taken)


@pytest.fixture
def ledger():
    return Ledger([Terminal("b", 1), Terminal("c", 2)])


def test_of_what_is_held_counts_what_has_come_again_so_far(ledger):
    ledger.sent_before = 4
    ship(ledger, 1)
    for path in (0, 1):
        ledger.acknowledge(ack((0, 3), path=path, taken=7))  # said in one record, of two batches
        ledger.acknowledge(ack((0, 9), path=path, taken=7))  # more than was ever sent
    assert ledger.quiet
    ship(ledger, 1)
    assert not ledger.quiet


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
    assert ledger.tombstones.counts == {Reason.FILTERED: 2, Reason.SKIPPED: 1}
    ledger.begin_run()
    assert ledger.tombstones.counts == {}


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
    assert not ledger.quiet


def test_what_the_frontier_passes_is_counted_and_the_rest_is_remembered():
    tombstones = Tombstones()
    tombstones.add(Reason.FILTERED, 1, 5)
    tombstones.add(Reason.SKIPPED, 3, 4)
    tombstones.advance(0, 4)
    assert tombstones.counts == {Reason.FILTERED: 3, Reason.SKIPPED: 1}
    assert list(tombstones.within(0, 9)) == [Tombstone(4, 5, Reason.FILTERED)]


def test_what_is_only_finished_did_not_end_on_its_way():
    tombstones = Tombstones()
    tombstones.add(Reason.FINISHED, 0, 5)
    tombstones.advance(0, 3)
    assert (tombstones.counts, list(tombstones.within(0, 9))) == ({}, [])


def test_what_ended_on_its_way_is_counted_beyond_the_frontier_too():
    tombstones = Tombstones()
    tombstones.add(Reason.FILTERED, 1, 5)
    tombstones.advance(0, 4)
    assert tombstones.count(Reason.FILTERED) == 4
    assert tombstones.count(Reason.SKIPPED) == 0
