from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from arroyo.protocol.values.fragments import FragmentSet


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
    parts = FragmentSet()
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
