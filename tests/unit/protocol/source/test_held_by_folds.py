from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import Ack
from arroyo.protocol.source.held_by_folds import HeldByFolds
from arroyo.protocol.values.finished_set import FinishedSet

END = 12
HALVES = ((0, 2),), ((1, 2),)


def told(*ranges, replica=0, life=1, parts=()):
    return Ack("fold", replica, "s.0", 1, 0, ranges, (), parts, life)


def missing(taken, finished=None):
    gaps = taken.missing(finished or FinishedSet(), 0, END)
    return {number for first, end in gaps for number in range(first, end)}


def test_what_a_fold_holds_is_not_missing():
    taken = HeldByFolds()
    taken.add(told((1, 4), (6, 7)))
    assert missing(taken) == {0, 4, 5, *range(7, END)}
    assert taken.holders == [("fold", 0, 1)]


def test_replicas_hold_each_their_own():
    taken = HeldByFolds()
    taken.add(told((0, 6)))
    taken.add(told((6, END), replica=1, life=2))
    assert missing(taken) == set()
    assert taken.holders == [("fold", 0, 1), ("fold", 1, 2)]
    taken.forget_former("fold", 1, 3)
    assert missing(taken) == set(range(6, END))
    assert taken.holders == [("fold", 0, 1)]


def test_a_new_life_has_forgotten_what_the_one_before_held():
    taken = HeldByFolds()
    taken.add(told((0, END)))
    taken.forget_former("fold", 0, 2)
    assert missing(taken) == set(range(END))
    assert taken.holders == []


def test_a_hello_of_the_same_life_forgets_nothing():
    taken = HeldByFolds()
    taken.add(told((0, END), life=2))
    taken.forget_former("fold", 0, 2)
    taken.forget_former("fold", 0, 1)
    assert missing(taken) == set()


def test_what_a_former_life_said_counts_for_nothing_even_if_it_comes_late():
    taken = HeldByFolds()
    taken.forget_former("fold", 0, 2)
    taken.add(told((0, END), life=1))
    assert missing(taken) == set(range(END))
    taken.add(told((0, 3), life=2))
    taken.add(told((3, 6), life=1))
    assert missing(taken) == set(range(3, END))


def test_a_new_life_is_known_by_what_it_says_as_well():
    taken = HeldByFolds()
    taken.add(told((0, 6), life=1))
    taken.add(told((6, END), life=2))
    assert missing(taken) == set(range(6))
    assert taken.holders == [("fold", 0, 2)]


def test_a_message_in_parts_is_held_once_all_of_them_are():
    taken = HeldByFolds()
    taken.add(told(parts=((3, HALVES[0]),)))
    assert missing(taken) == set(range(END))
    assert taken.holders == [("fold", 0, 1)]
    taken.add(told(parts=((3, HALVES[1]),), replica=1))
    assert missing(taken) == set(range(END)) - {3}


def test_a_part_may_be_held_while_another_is_finished():
    taken, finished = HeldByFolds(), FinishedSet()
    taken.add(told(parts=((3, HALVES[0]),)))
    finished.add(3, 4, HALVES[1])
    assert missing(taken, finished) == set(range(END)) - {3}


def test_nobody_holds_what_is_below_the_frontier():
    taken, finished = HeldByFolds(), FinishedSet()
    taken.add(told((0, 3), parts=((3, HALVES[0]),)))
    taken.advance(4)
    finished.advance(4)
    assert taken.holders == []
    assert missing(taken, finished) == set(range(4, END))


NUMBERS = st.integers(0, END - 1)
REPLICAS = st.integers(0, 1)
LIVES = st.integers(1, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("whole"), REPLICAS, LIVES, NUMBERS, st.integers(1, 3)),
        st.tuples(st.just("part"), REPLICAS, LIVES, NUMBERS, st.integers(0, 1)),
        st.tuples(st.just("hello"), REPLICAS, LIVES),
        st.tuples(st.just("advance"), NUMBERS),
    )
)


@given(STEPS)
def test_it_knows_what_the_latest_lives_hold(steps):
    taken, finished = HeldByFolds(), FinishedSet()
    held: dict[int, tuple[int, set, set]] = {}
    frontier = 0
    for step, *rest in steps:
        if step == "advance":
            frontier = max(frontier, rest[0])
            taken.advance(frontier)
            finished.advance(frontier)
        else:
            replica, life = rest[:2]
            if replica not in held or held[replica][0] < life:
                held[replica] = life, set(), set()
            _, whole, parts = held[replica]
            latest = held[replica][0] == life
            if step == "hello":
                taken.forget_former("fold", replica, life)
            elif step == "whole":
                first, end = rest[2], min(rest[2] + rest[3], END)
                taken.add(told((first, end), replica=replica, life=life))
                whole |= set(range(first, end)) if latest else set()
            else:
                taken.add(told(replica=replica, life=life, parts=((rest[2], HALVES[rest[3]]),)))
                parts |= {(rest[2], rest[3])} if latest else set()
        wholes = {number for _, whole, _ in held.values() for number in whole}
        parts = {part for _, _, some in held.values() for part in some}
        joined = {number for number, half in parts if (number, 1 - half) in parts}
        assert missing(taken, finished) == set(range(frontier, END)) - wholes - joined
