from __future__ import annotations

from batches import make_batch
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import Batch, Kind, Reason
from arroyo.protocol.values.batches import (
    OutgoingBatch,
    count_of,
    cut,
    describe,
    end_at,
    header_of,
    in_flight_at,
    pack,
    positions_of,
    sequences_of,
    split,
    tombstones_for,
)

FRAGMENTS = st.one_of(
    st.just(()), st.lists(st.sampled_from([(0, 2), (1, 2), (2, 5)]), max_size=3).map(tuple)
)
POSITIONS = st.lists(st.tuples(st.integers(0, 20), FRAGMENTS), max_size=30)


def header(positions, stones=()):
    fields = describe(positions) | {"tombstones": stones}
    return Batch("a.0", 1, 0, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0, **fields)


@given(st.lists(st.integers(0, 30)))
def test_ranges_give_back_the_sequences_in_their_order_with_repeats(sequences):
    batch = header([(number, ()) for number in sequences])
    assert batch.ranges == pack(sequences)
    assert list(sequences_of(batch)) == sequences
    assert count_of(batch) == len(sequences)


@given(POSITIONS)
def test_a_header_gives_back_the_positions_that_made_it(positions):
    assert positions_of(header(positions)) == positions


def test_neighbours_share_a_range():
    assert pack([4, 5, 6, 9, 9, 10]) == ((4, 7), (9, 10), (9, 11))


@given(POSITIONS, st.integers(1, 10), st.booleans())
def test_cutting_a_load_loses_nothing(positions, most, keyed):
    items = [object() for _ in positions]
    keys = list(range(len(items))) if keyed else None
    stones = tombstones_for([(21, ())], Reason.FILTERED)
    pieces = list(cut(OutgoingBatch(header(positions, stones), items, 1000, keys), most))
    assert all(len(piece.items) <= most for piece in pieces)
    assert [item for piece in pieces for item in piece.items] == items
    assert [at for piece in pieces for at in positions_of(piece.header)] == positions
    assert [key for piece in pieces for key in piece.keys or ()] == (keys or [])
    assert sum(piece.size for piece in pieces) == 1000
    assert [stone for piece in pieces for stone in piece.header.tombstones] == list(stones)


@given(POSITIONS.filter(lambda positions: len(positions) > 1), st.integers(0, 40), st.booleans())
def test_taking_a_share_loses_nothing(positions, place, keyed):
    count = 1 + place % (len(positions) - 1)
    items = [object() for _ in positions]
    keys = list(range(len(items))) if keyed else None
    stones = tombstones_for([(90, ()), (91, ())], Reason.FILTERED)
    head, rest = parts = split(
        OutgoingBatch(header(positions, stones), items, 10 * len(items), keys), count
    )
    assert [item for part in parts for item in part.items] == items
    assert [each for part in parts for each in positions_of(part.header)] == positions
    assert sum(part.size for part in parts) == 10 * len(items)
    assert head.header.tombstones == stones
    assert rest.header.tombstones == ()
    assert len(head.items) == count
    if keyed:
        assert [key for part in parts for key in part.keys] == keys


@given(POSITIONS)
def test_each_message_has_its_tombstone(positions):
    stones = tombstones_for(positions, Reason.SKIPPED)
    buried = [
        (number, stone.fragment) for stone in stones for number in range(stone.first, stone.end)
    ]
    assert sorted(buried) == sorted(positions)
    assert {stone.reason for stone in stones} <= {Reason.SKIPPED}


def test_neighbours_share_a_tombstone():
    stones = tombstones_for([(3, ()), (4, ()), (7, ())], 0)
    assert [tuple(stone[:2]) for stone in stones] == [
        (3, 5),
        (7, 8),
    ]


@given(POSITIONS, st.sets(st.integers(0, 29)))
def test_burying_some_places_keeps_the_others_and_their_order(positions, places):
    places = {place for place in places if place < len(positions)}
    former = tombstones_for([(90, ())], Reason.FILTERED)
    buried = end_at(header(positions, former), places, Reason.QUARANTINED)
    assert positions_of(buried) == [
        position for place, position in enumerate(positions) if place not in places
    ]
    gone = [positions[place] for place in sorted(places)]
    assert buried.tombstones == (*former, *tombstones_for(gone, Reason.QUARANTINED))


def test_what_is_in_flight_is_counted_from_the_frontier_to_the_last_of_the_batch():
    assert in_flight_at(make_batch(ranges=((10, 12), (14, 15)), frontier=7)) == 8
    assert in_flight_at(make_batch(ranges=(), frontier=7)) == 0


@given(POSITIONS.filter(bool), st.data())
def test_the_header_of_one_message_tells_its_position_alone(positions, data):
    place = data.draw(st.integers(0, len(positions) - 1))
    alone = header_of(header(positions, tombstones_for([(99, ())], Reason.FILTERED)), place)
    assert positions_of(alone) == [positions[place]]
    assert alone.tombstones == ()
