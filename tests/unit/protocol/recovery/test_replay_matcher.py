"""What comes again after a restart is told from what is new."""

from hypothesis import given
from hypothesis import strategies as st

from arroyo.protocol.recovery.journal import (
    NO_TOKEN,
    JournalState,
    RunClosing,
    RunOpened,
    mark_of,
)
from arroyo.protocol.recovery.replay_matcher import Fate, Part, ReplayMatcher


def marks(tokens):
    return tuple(map(mark_of, tokens))


def matcher(in_flight="", *, finished="", **fields):
    memory = JournalState(epoch=7, marks=list(marks(in_flight)), finished=marks(finished))
    for name, value in fields.items():
        setattr(memory, name, value)
    return ReplayMatcher(memory)


def sort(matcher, tokens):
    return list(matcher.sort(marks(tokens)))


def test_what_was_finished_comes_first_then_what_was_in_flight_then_what_is_new():
    assert sort(matcher("cd", finished="ab"), "abcdef") == [
        Part(Fate.FINISHED, 0, 2),
        Part(Fate.AGAIN, 2, 4),
        Part(Fate.NEW, 4, 6),
    ]


def test_it_goes_on_from_batch_to_batch():
    again = matcher("cde", finished="b")
    assert sort(again, "bc") == [Part(Fate.FINISHED, 0, 1), Part(Fate.AGAIN, 1, 2)]
    assert (again.open_places, again.over) == (2, False)
    assert sort(again, "de") == [Part(Fate.AGAIN, 0, 2)]
    assert (again.open_places, again.over) == (0, True)


def test_places_that_are_passed_over_are_gone_where_they_were():
    assert sort(matcher("abcde"), "ad") == [
        Part(Fate.AGAIN, 0, 1),
        Part(Fate.GONE, 0, 2),
        Part(Fate.AGAIN, 1, 2),
    ]


def test_nothing_that_was_in_flight_comes_behind_what_is_new():
    again = matcher("abc")
    assert sort(again, "axb") == [
        Part(Fate.AGAIN, 0, 1),
        Part(Fate.GONE, 0, 2),
        Part(Fate.NEW, 1, 3),
    ]
    assert again.over


def test_what_was_finished_is_no_news_only_before_anything_else():
    again = matcher("b", finished="a")
    assert sort(again, "ba") == [Part(Fate.AGAIN, 0, 1), Part(Fate.NEW, 1, 2)]
    assert not again.has_finished(mark_of("a"))


def test_without_a_former_life_all_is_new():
    assert sort(matcher(), "ab") == [Part(Fate.NEW, 0, 2)]
    assert sort(matcher(), "") == []


def test_places_that_will_not_be_filled_are_counted_once():
    again = matcher("abc")
    sort(again, "a")
    assert (again.give_up(), again.give_up()) == (2, 0)


def open_run(token, **fields):
    fields = {"implicit": False} | fields
    return RunOpened("scan", first=0, mark=mark_of(token), **fields)


def test_the_start_of_the_run_that_was_open_is_known_by_its_token():
    again = matcher(run=open_run("s"))
    assert again.knows_start(mark_of("s"))
    assert not again.knows_start(mark_of("t"))
    assert not matcher(run=open_run("s", implicit=True)).knows_start(mark_of("s"))
    assert not matcher().knows_start(NO_TOKEN)


def test_a_start_without_a_token_is_known_if_it_comes_first():
    assert matcher(run=open_run(None)).knows_start(NO_TOKEN)
    again = matcher("a", run=open_run(None))
    sort(again, "a")
    assert not again.knows_start(NO_TOKEN)


def test_a_stop_is_known_by_its_token_and_by_nothing_else():
    again = matcher(closing=RunClosing(4, b"stop", mark_of("e")))
    assert again.knows_stop(mark_of("e"))
    assert not again.knows_stop(mark_of("f"))
    assert not matcher(closing=RunClosing(4, b"stop")).knows_stop(NO_TOKEN)


@given(st.data())
def test_each_event_has_one_fate_and_each_place_one_end(data):
    """The input has lost some, begins where the last acknowledgement was, and goes on."""
    finished, in_flight, new = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 6)), 3
    tokens = list(range(finished + in_flight + new))
    lost = data.draw(st.sets(st.sampled_from(tokens)))
    coming = [token for token in tokens if token not in lost]
    again = matcher(tokens[finished : finished + in_flight], finished=tokens[:finished])
    fates, gone = {}, 0
    while coming:
        size = data.draw(st.integers(1, len(coming)))
        batch, coming = coming[:size], coming[size:]
        at = 0
        for fate, first, end in again.sort(marks(batch)):
            if fate is Fate.GONE:
                gone += end - first
                continue
            assert first == at
            fates |= dict.fromkeys(batch[first:end], fate)
            at = end
        assert at == size
    expected = [Fate.FINISHED] * finished + [Fate.AGAIN] * in_flight + [Fate.NEW] * new
    assert fates == {token: expected[token] for token in tokens if token not in lost}
    missing = sum(finished <= token < finished + in_flight for token in lost)
    assert gone + again.give_up() == missing
