from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from arroyo.protocol.receiving.order import OrderBuffer, Parts


@st.composite
def leaves(draw, depth=2):
    """All parts of one message that was split some levels deep."""
    if depth == 0 or draw(st.booleans()):
        return [()]
    count = draw(st.integers(1, 3))
    return [((index, count), *rest) for index in range(count) for rest in draw(leaves(depth - 1))]


@given(st.data())
def test_parts_are_complete_with_the_last_one_and_not_before(data):
    order = data.draw(leaves(3).flatmap(st.permutations))
    parts = Parts()
    for fragment in order:
        assert not parts.complete
        assert fragment not in parts
        assert parts.add(fragment)
        assert not parts.add(fragment)
    assert parts.complete


@given(leaves(3))
def test_the_weights_of_all_parts_sum_to_one(fragments):
    weights = []
    for fragment in fragments:
        weight = Fraction(1)
        for _, count in fragment:
            weight /= count
        weights.append(weight)
    assert sum(weights) == 1


@st.composite
def streams(draw):
    """What arrives, in any order and with repeats: (sequence, fragment, whether it is buried)."""
    entries = []
    for sequence in range(draw(st.integers(0, 6))):
        for fragment in draw(leaves()):
            entries.append((sequence, fragment, draw(st.booleans())))
    repeats = draw(st.lists(st.sampled_from(entries), max_size=5)) if entries else []
    return entries, draw(st.permutations(entries + repeats))


@given(streams())
def test_everything_goes_on_once_and_in_order(stream):
    entries, arrivals = stream
    reorder = OrderBuffer()
    passed = []
    for sequence, fragment, buried in arrivals:
        if buried:
            passed += reorder.bury(sequence, sequence + 1, fragment)
        else:
            passed += reorder.push(sequence, fragment, (sequence, fragment))
    assert passed == sorted((seq, fragment) for seq, fragment, buried in entries if not buried)
    assert reorder.held == 0
    assert reorder.next == len({sequence for sequence, *_ in entries})


def test_what_comes_early_waits():
    reorder = OrderBuffer()
    assert reorder.push(1, (), "b") == []
    assert reorder.held == 1
    assert reorder.push(0, (), "a") == ["a", "b"]


def test_what_the_frontier_passed_is_neither_waited_for_nor_passed_on():
    reorder = OrderBuffer()
    assert reorder.push(3, (), "old") == []
    assert reorder.push(7, (), "new") == []
    assert reorder.skip_to(7) == ["new"]
    assert reorder.push(5, (), "late") == []
    assert reorder.skip_to(2) == []
    assert reorder.next == 8


def test_a_tombstone_for_the_whole_releases_the_parts_that_came():
    reorder = OrderBuffer()
    assert reorder.push(0, ((1, 2),), "part") == []
    assert reorder.bury(0, 1) == ["part"]


def test_a_tombstone_of_any_length_takes_no_time_and_no_room():
    reorder = OrderBuffer()
    assert reorder.push(1 << 40, (), "in it") == []
    assert reorder.bury(0, 1 << 62) == ["in it"]
    assert reorder.next == 1 << 62
    assert reorder.held == 0
