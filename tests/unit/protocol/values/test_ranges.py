from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arroyo.protocol.values.ranges import RangeSet

ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)


def numbers(pairs):
    return {number for first, end in pairs for number in range(first, end)}


@given(ranges)
def test_it_holds_what_a_plain_set_holds(pairs):
    held = RangeSet(pairs)
    assert numbers(held) == numbers(pairs)
    assert len(held) == len(numbers(pairs))
    assert [n for n in range(45) if n in held] == sorted(numbers(pairs))


@given(ranges)
def test_its_ranges_are_sorted_and_do_not_touch(pairs):
    bounds = [bound for pair in RangeSet(pairs) for bound in pair]
    assert bounds == sorted(set(bounds))


@given(ranges, st.integers(0, 45), st.integers(0, 45))
def test_missing_is_the_rest_of_the_range(pairs, first, end):
    gaps = RangeSet(pairs).missing(first, end)
    assert numbers(gaps) == set(range(first, end)) - numbers(pairs)
    assert all(low < high for low, high in gaps)


@given(ranges, st.integers(0, 45), st.integers(0, 45))
def test_common_is_what_of_the_range_is_there(pairs, first, end):
    common = RangeSet(pairs).common(first, end)
    assert numbers(common) == set(range(first, end)) & numbers(pairs)
    assert all(low < high for low, high in common)


@given(ranges, st.integers(0, 45))
def test_the_first_gap_is_the_smallest_number_that_is_not_there(pairs, start):
    gap = RangeSet(pairs).first_gap(start)
    assert gap == next(n for n in range(start, 100) if n not in numbers(pairs))


@given(ranges, st.integers(0, 45), ranges)
def test_what_is_discarded_is_gone_and_can_come_back(pairs, below, later):
    held = RangeSet(pairs)
    held.discard_below(below)
    assert numbers(held) == {n for n in numbers(pairs) if n >= below}
    for pair in later:
        held.add(*pair)
    assert numbers(held) == {n for n in numbers(pairs) if n >= below} | numbers(later)


def test_a_million_in_order_is_one_range():
    held = RangeSet((n, n + 1) for n in range(1_000))
    assert list(held) == [(0, 1_000)]
