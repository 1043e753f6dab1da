from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arroyo.protocol.values.finished_set import FinishedSet

PARTS = [((0, 2),), ((1, 2), (0, 2)), ((1, 2), (1, 2))]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("whole"), st.integers(0, 15), st.integers(1, 4)),
        st.tuples(st.just("part"), st.integers(0, 15), st.integers(0, 2)),
        st.tuples(st.just("advance"), st.integers(0, 15), st.just(0)),
    )
)


@given(STEPS)
def test_it_knows_what_was_finished(steps):
    finished = FinishedSet()
    done, parts, frontier = set(), {}, 0
    for step, number, more in steps:
        if step == "whole":
            finished.add(number, number + more)
            done |= set(range(number, number + more))
        elif step == "part":
            became = finished.add(number, number + 1, PARTS[more])
            known = number in done or number < frontier
            seen = parts.setdefault(number, set())
            seen.add(more)
            assert became == (len(seen) == 3 and not known)
            if len(seen) == 3:
                done.add(number)
        else:
            finished.advance(number)
            frontier = max(frontier, number)
            parts = {key: seen for key, seen in parts.items() if key >= frontier}
        done |= set(range(frontier))
        for each in range(20):
            assert finished.covers(each, ()) == (each in done)
            for index, part in enumerate(PARTS):
                known = each in done or index in parts.get(each, ())
                assert finished.covers(each, part) == known
        assert finished.first_gap() == next(n for n in range(50) if n not in done)
        gaps = {n for first, end in finished.missing(0, 20) for n in range(first, end)}
        assert gaps == set(range(20)) - done


def test_a_range_is_new_if_nothing_in_it_was_finished():
    finished = FinishedSet()
    finished.add(5, 6)
    finished.advance(2)
    assert finished.is_new(2, 5)
    assert not finished.is_new(1, 3)
    assert not finished.is_new(4, 7)
