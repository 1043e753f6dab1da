"""What of a ledger goes out again."""

from __future__ import annotations

import msgspec
import pytest
from unit.protocol.source.test_ledger import HEADER, ack, ship

from arroyo.codec import Kind, Reason, Shared, Suspect, Tombstone
from arroyo.messages import SlabReference
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.source.redelivery import GRACE_S, STALL_S, Redelivery, RedeliveryTimer
from arroyo.protocol.values.batches import OutgoingBatch, positions_of
from arroyo.protocol.values.paths import Terminal
from arroyo.protocol.values.ranges import RangeSet


@pytest.fixture
def ledger():
    return Ledger([Terminal("b", 1), Terminal("c", 2)])


def again(ledger, paths=(0, 1), before=9.0, waiting=(), with_order=False):
    ledger.attempts = 3
    redelivery = Redelivery(ledger, with_order=with_order)
    return list(redelivery.unfinished(paths, before, RangeSet(waiting)))


def test_what_comes_again_has_the_size_that_it_has(ledger):
    items = [Shared(b"m", SlabReference("pool", 0, 50_000_000, 1)), b"mm", b"mmm"]
    header = msgspec.structs.replace(HEADER, ranges=((0, 3),))
    ledger.add(OutgoingBatch(header, items, sum(map(len, items))), [None] * 3, 0.0)
    ledger.acknowledge(ack((0, 1), path=0))
    assert [(batch.items, batch.size) for batch in again(ledger, paths=(0,))] == [(items[1:], 5)]
    assert [batch.size for batch in again(ledger, paths=(1,))] == [50_000_006]


def test_only_what_is_not_finished_is_sent_again(ledger):
    ship(ledger, 5)
    for path in (0, 1):
        ledger.acknowledge(ack((1, 3), path=path))
    (batch,) = again(ledger)
    assert batch.items == ["m0", "m3", "m4"]
    assert positions_of(batch.header) == [(0, ()), (3, ()), (4, ())]
    assert batch.header.attempt == 3
    assert batch.header.tombstones == ()


def test_a_dispatcher_sends_again_what_one_of_its_own_paths_lacks(ledger):
    ship(ledger, 2)
    ledger.acknowledge(ack((0, 2), path=0))
    assert again(ledger, paths=(0,)) == []
    assert [batch.items for batch in again(ledger, paths=(1,))] == [["m0", "m1"]]


def test_what_has_not_left_is_not_lost(ledger):
    ship(ledger, 4)
    (batch,) = again(ledger, waiting=[(2, 4)])
    assert batch.items == ["m0", "m1"]


def test_what_left_after_the_loss_is_not_sent_again(ledger):
    ship(ledger, 1, now=1.0)
    ship(ledger, 1, now=3.0)
    assert [batch.items for batch in again(ledger, before=2.0)] == [["m0"]]
    ledger.mark_sent(2.0, 5.0)
    assert [batch.items for batch in again(ledger, before=4.0)] == [["m1"]]


def test_a_stage_that_restores_order_is_told_the_places_of_what_is_finished(ledger):
    ship(ledger, 1, Kind.START)
    ship(ledger, 4)
    for path in (0, 1):
        for replica in (0, 1):
            ledger.acknowledge(ack((0, 1), path=path, replica=replica))
        ledger.acknowledge(ack((2, 3), path=path))
    assert ledger.advance(0.0).messages == 1
    (batch,) = again(ledger, with_order=True)
    assert batch.items == ["m1", "m3", "m4"]
    assert batch.header.tombstones == (Tombstone(2, 3, Reason.FINISHED),)
    assert batch.header.frontier == 1


def test_what_ended_on_its_way_is_told_again_as_such(ledger):
    """Or the next life of the source might hear that it is finished, and never how."""
    ship(ledger, 4)
    ledger.acknowledge(ack((1, 2), path=0, stones=(Tombstone(2, 4, Reason.FILTERED),)))
    (batch,) = again(ledger, paths=(0,), with_order=True)
    stones = batch.header.tombstones
    assert Tombstone(1, 4, Reason.FINISHED) in stones
    assert Tombstone(2, 4, Reason.FILTERED) in stones


def test_what_a_dead_life_held_is_sent_again_and_what_a_living_one_holds_is_not(ledger):
    ship(ledger, 4)
    ledger.acknowledge(msgspec.structs.replace(ack((0, 2), taken=7), paths=2))
    ledger.acknowledge(msgspec.structs.replace(ack((2, 4), taken=7, replica=1), paths=2))
    assert again(ledger) == []
    ledger.forget_held("b", 0, 9)
    assert [batch.items for batch in again(ledger)] == [["m0", "m1"]]
    assert not ledger.quiet


def test_what_is_held_is_sent_again_where_its_place_is_needed(ledger):
    ship(ledger, 2)
    ledger.acknowledge(msgspec.structs.replace(ack((0, 2), taken=7), paths=2))
    (batch,) = again(ledger, with_order=True)
    assert (batch.items, batch.header.tombstones) == (["m0", "m1"], ())


def test_what_was_finished_while_it_waited_is_left_out(ledger):
    ship(ledger, 4)
    ledger.acknowledge(ack((1, 3), path=0))
    ledger.acknowledge(ack((1, 2), (3, 4), path=1))
    (batch,) = again(ledger, paths=(0,), before=9.0)
    batch.header = msgspec.structs.replace(batch.header, ranges=((0, 4),))
    batch.items, batch.keys = [b"a", b"b", b"c", b"d"], [7, 8, 9, 10]
    left = Redelivery(ledger, with_order=False).without_finished((0,), batch)
    assert (left.header.ranges, left.items, left.keys) == (((0, 1), (3, 4)), [b"a", b"d"], [7, 10])
    assert left.header.tombstones == ()
    left = Redelivery(ledger, with_order=True).without_finished((0, 1), batch)
    assert left.header.ranges == ((0, 1), (2, 4))
    assert left.header.tombstones == (Tombstone(1, 2, Reason.FINISHED),)


def test_what_ended_on_its_way_while_it_waited_is_told_as_such(ledger):
    """Or the next life of the source might hear that it is finished, and never how."""
    ship(ledger, 2)
    (batch,) = again(ledger, paths=(0,))
    ledger.acknowledge(ack(path=0, stones=(Tombstone(1, 2, Reason.FILTERED),)))
    left = Redelivery(ledger, with_order=True).without_finished((0,), batch)
    assert left.header.tombstones == (
        Tombstone(1, 2, Reason.FINISHED),
        Tombstone(1, 2, Reason.FILTERED),
    )


def test_a_batch_of_which_nothing_is_finished_stays_as_it_is(ledger):
    ship(ledger, 4)
    (batch,) = again(ledger)
    assert Redelivery(ledger, with_order=True).without_finished((0, 1), batch) is batch


def test_a_suspect_comes_again_alone_and_in_quarantine_it_leaves_a_tombstone(ledger):
    ship(ledger, 4)
    ledger.accuse(Suspect("b", 0, 7, "s.0", 1, 2, "died"))
    assert [(batch.items, batch.header.suspect) for batch in again(ledger)] == [
        (["m0", "m1", "m3"], 0),
        (["m2"], 7),
    ]
    ledger.suspects.withhold(2)
    assert [batch.items for batch in again(ledger)] == [["m0", "m1", "m3"]]
    assert ledger.suspects.quarantined(2, kept=True)
    (batch,) = Redelivery(ledger, with_order=False).due(2)
    assert (batch.items, batch.header.tombstones) == ([], (Tombstone(2, 3, Reason.QUARANTINED),))


def test_what_an_earlier_life_sent_is_taken_apart_only_where_it_holds_a_suspect(ledger):
    ledger.sent_before = 9
    ship(ledger, 3)
    batch, redelivery = ledger.find(0).batch, Redelivery(ledger, with_order=False)
    assert list(redelivery.come_again(batch)) == [batch]
    ledger.accuse(Suspect("b", 0, 7, "s.0", 1, 1, "died"))
    assert [each.items for each in redelivery.come_again(batch)] == [["m0", "m2"], ["m1"]]


@pytest.fixture
def timer():
    """One with something in its ledger since 1.0."""
    made = RedeliveryTimer()
    made.begin(1.0)
    return made


def test_the_grace_counts_from_the_first_sign_and_what_left_before_the_last_is_lost(timer):
    assert timer.note_loss(2.0) == GRACE_S[0]
    assert timer.note_loss(2.03) is None
    assert timer.deadline(empty=False) == 2.0 + GRACE_S[0]
    assert timer.expire(2.06, idle=False) == 2.03
    assert timer.deadline(empty=False) == 1.0 + STALL_S


def test_the_grace_follows_the_delay_of_acknowledgements_within_bounds(timer):
    for now in range(100):
        timer.note_progress(float(now), 0.1)
    assert timer.note_loss(200.0) == pytest.approx(0.4, rel=0.01)
    timer.expire(201.0, idle=False)
    for now in range(100):
        timer.note_progress(float(now), 60.0)
    assert timer.note_loss(400.0) == GRACE_S[1]


def test_where_nothing_moves_all_is_lost_and_asked_again_more_rarely(timer):
    assert timer.expire(31.0, idle=True) == 31.0
    assert timer.deadline(empty=False) == 31.0 + 2 * STALL_S
    timer.note_progress(40.0, None)
    assert timer.deadline(empty=False) == 40.0 + STALL_S


def test_what_is_in_flight_to_a_slow_neighbour_is_not_lost(timer):
    assert timer.expire(31.0, idle=False) is None


def test_an_empty_ledger_waits_for_nothing_but_the_grace(timer):
    assert timer.deadline(empty=True) is None
    timer.note_loss(2.0)
    assert timer.deadline(empty=True) is not None


def test_what_is_postponed_keeps_its_time_of_loss(timer):
    timer.note_loss(2.0)
    timer.postpone(timer.expire(2.05, idle=False), 2.05)
    assert timer.deadline(empty=False) == 2.05 + GRACE_S[1]
    assert timer.expire(3.05, idle=False) == 2.0
