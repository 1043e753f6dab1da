from __future__ import annotations

import pytest

from arroyo.codec import Batch, Kind
from arroyo.protocol.values.deliveries import LazyWork
from arroyo.runner.relay.batch_progress import STAYS_S, WHOLE_S, Advice, BatchProgress
from arroyo.runner.user_code.results import ListedResults

BATCH = Batch("a.0", 1, 0, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0, ranges=((0, 10),))


def begin(many=10):
    results = ListedResults()
    messages = "abcdefghij" * (many // 10)
    return BatchProgress(BATCH, LazyWork(range(many), messages), results, 0.0), results


def test_a_batch_that_will_be_through_soon_is_left_alone():
    way, results = begin()
    results += "ABCDE"
    assert way.look(WHOLE_S * 0.4) is Advice.LEAVE


def test_a_batch_that_will_take_long_is_cut_at_the_next_message():
    way, results = begin()
    results += "AB"
    assert way.look(WHOLE_S * 0.4) is Advice.CUT


def test_a_batch_that_gets_slower_is_cut():
    way, results = begin(many=1000)
    results += "A" * 600
    assert way.look(0.005) is Advice.LEAVE
    results += "A" * 20
    assert way.look(0.0125) is Advice.CUT


@pytest.mark.parametrize("done", ["", "ABCDEFGH"])
def test_where_the_code_stays_with_one_message_those_before_it_go_on(done):
    way, results = begin()
    results += done
    if done:
        assert way.look(WHOLE_S * 0.5) is Advice.LEAVE
    assert way.look(WHOLE_S * 0.5 + 2 * STAYS_S) is Advice.TAKE
    assert way.so_far() == list(done)


def test_where_it_has_had_no_processor_since_nothing_can_be_told():
    way, results = begin()
    results += "ABCDEFGH"
    assert way.look(WHOLE_S * 0.5) is Advice.LEAVE
    assert way.look(WHOLE_S * 0.5 + STAYS_S / 2) is Advice.DOUBT
    assert way.look(WHOLE_S * 0.5 + 2 * STAYS_S) is Advice.TAKE


def test_what_has_gone_on_does_not_go_on_again():
    way, results = begin()
    results += "ABC"
    way.note_gone(3, BATCH, 0.02)
    assert way.waiting == 0
    assert [message for _, _, message in way.work] == list("defghij")
    results += "DE"
    assert way.so_far() == ["D", "E"]
    assert way.gone == 3


def test_the_last_message_goes_on_with_the_end_of_its_batch():
    way, results = begin()
    results += "ABCDEFGHIJ"
    assert way.look(1.0) is Advice.LEAVE
    assert len(way.so_far()) == 9
