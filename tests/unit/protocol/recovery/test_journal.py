"""The notes of a source taken together: what its next life knows."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import Suspect
from arroyo.errors import EncodeError
from arroyo.protocol.recovery.journal import (
    NO_TOKEN,
    FrontierMoved,
    JournalEntry,
    JournalState,
    ProcessDied,
    RunClosing,
    RunOpened,
    Sent,
    mark_of,
)


def after(*entries):
    """What is known after these notes, read back from where they are kept."""
    state = JournalState(epoch=7)
    for entry in entries:
        state.apply(msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=JournalEntry))
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=JournalState)


def marks(*tokens):
    return tuple(map(mark_of, tokens))


def moved(frontier, *tokens, **fields):
    said = {"attempts": 0, "ended": {}, "missing": ()} | fields
    return FrontierMoved(frontier, **said, marks=marks(*tokens))


def died(sequence):
    return ProcessDied(Suspect("b", 0, 3, "s.0", 7, sequence, "died"))


OPENED = RunOpened("scan", implicit=False, first=0, item=b"start", mark=mark_of("s"))
SENT = Sent(1, marks("a", "b", "c"))
CLOSING = RunClosing(4, b"stop", mark_of("e"))


@pytest.mark.parametrize("token", [None, 5, "file.tif", b"\0", [1, "a"], (1, 2), {"b": 1, "a": 2}])
def test_a_token_is_kept_and_compared_by_its_mark(token):
    assert mark_of(token) == mark_of(token)
    assert mark_of({"a": 2, "b": 1}) == mark_of({"b": 1, "a": 2})
    assert (mark_of(token) == NO_TOKEN) == (token is None)


@pytest.mark.parametrize("token", [object(), 1 << 70, {1j}])
def test_a_token_that_can_not_be_kept_is_refused_with_what_can(token):
    with pytest.raises(EncodeError, match=r"can't be kept for the next life .*; use numbers"):
        mark_of(token)


def test_the_first_event_of_a_run_comes_behind_its_start():
    assert OPENED.base == 1
    assert RunOpened("scan", implicit=True, first=5).base == 5


def test_what_is_in_flight_is_known_by_its_token_and_place():
    state = after(OPENED, SENT, Sent(4, marks("d")))
    assert (state.first, tuple(state.marks), state.next) == (1, marks("a", "b", "c", "d"), 5)


def test_what_is_finished_is_forgotten_but_for_what_may_not_be_acknowledged():
    state = after(OPENED, SENT, moved(3, "a", "b", attempts=2, ended={1: 1}, missing=((1, 2),)))
    assert (state.frontier, state.first, tuple(state.marks)) == (3, 3, marks("c"))
    assert state.finished == marks("a", "b")
    assert (state.attempts, state.ended, state.missing) == (2, {1: 1}, ((1, 2),))
    assert after(OPENED, SENT, moved(3, "a", "b"), moved(4, "c")).finished == marks("c")


def test_a_run_whose_stop_is_sent_is_closed_and_kept_until_that_is_finished():
    state = after(OPENED, SENT, moved(2, ended={1: 1}), CLOSING)
    assert (state.run, state.closed, state.closing) == (None, OPENED, CLOSING)
    assert (state.ended, state.next) == ({}, 5)
    assert after(OPENED, SENT, CLOSING, moved(4)).closing == CLOSING
    state = after(OPENED, SENT, CLOSING, moved(5))
    assert (state.closed, state.closing, state.marks, state.next) == (None, None, [], 5)


def test_the_next_run_begins_while_the_last_one_closes():
    following = RunOpened("next", implicit=False, first=5)
    state = after(OPENED, SENT, CLOSING, following)
    assert (state.run, state.closed, state.next) == (following, OPENED, 6)


def test_a_death_is_held_against_a_message_until_that_is_finished():
    state = after(OPENED, SENT, died(2), died(2), died(3))
    assert [suspect.sequence for suspect in state.suspects] == [2, 3]
    assert [each.sequence for each in after(OPENED, SENT, died(2), moved(2)).suspects] == [2]
    assert after(OPENED, SENT, died(2), moved(3)).suspects == ()


def test_a_death_of_what_is_not_in_flight_is_nobodys():
    assert after(OPENED, SENT, moved(2), died(1), died(4)).suspects == ()


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), max_size=20))
def test_however_it_goes_the_places_of_what_is_in_flight_are_their_own(steps):
    """Events are sent and finished in turn, so many each time."""
    state, sent, finished = JournalState(epoch=7), 0, 0
    for more, done in steps:
        state.apply(Sent(sent, marks(*range(sent, sent + more))))
        sent += more
        finished = min(sent, finished + done)
        state.apply(moved(finished))
        assert state.next == sent
        assert tuple(state.marks) == marks(*range(finished, sent))
        assert not state.marks or state.first == finished
