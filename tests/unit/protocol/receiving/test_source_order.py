from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from unit.protocol.values.test_fragments import leaves

from arroyo.protocol.receiving.source_order import OrderBuffer


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
            passed += reorder.skip(sequence, sequence + 1, fragment)
        else:
            passed += reorder.push(sequence, fragment, (sequence, fragment))
    assert passed == sorted((seq, fragment) for seq, fragment, buried in entries if not buried)
    assert len(reorder._held) == 0
    assert reorder.next == len({sequence for sequence, *_ in entries})


def test_what_comes_early_waits():
    reorder = OrderBuffer()
    assert reorder.push(1, (), "b") == []
    assert len(reorder._held) == 1
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
    assert reorder.skip(0, 1) == ["part"]


def test_a_tombstone_of_any_length_takes_no_time_and_no_room():
    reorder = OrderBuffer()
    assert reorder.push(1 << 40, (), "in it") == []
    assert reorder.skip(0, 1 << 62) == ["in it"]
    assert reorder.next == 1 << 62
    assert len(reorder._held) == 0
