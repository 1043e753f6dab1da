from __future__ import annotations

import pytest

from arroyo.codec import Batch, Kind
from arroyo.protocol.values.deliveries import Row
from arroyo.runner.process.under_way import WHOLE_S, Advice, UnderWay
from arroyo.runner.user_code.calls import ListedResults

BATCH = Batch("a.0", 1, 0, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0, ranges=((0, 10),))


def begin(many=10):
    results = ListedResults()
    messages = "abcdefghij" * (many // 10)
    return UnderWay(BATCH, Row(range(many), messages), results, 0.0), results


def test_a_batch_that_will_be_through_soon_is_left_alone():
    way, results = begin()
    results += "ABCDE"
    assert way.look(WHOLE_S * 0.4, 0.0) is Advice.LEAVE


def test_a_batch_that_will_take_long_is_cut_at_the_next_message():
    way, results = begin()
    results += "AB"
    assert way.look(WHOLE_S * 0.4, 0.0) is Advice.CUT


def test_quick_messages_that_wait_for_a_processor_stay_together():
    many = 1000
    way, results = begin(many=many)
    for look in range(1, 10):
        results += "A" * 50
        assert way.look(look * 0.005, look * 0.0001) is Advice.LEAVE


def test_quick_messages_that_were_quicker_before_are_cut_by_the_time_that_they_work():
    way, results = begin(many=1000)
    results += "A" * 50
    assert way.look(0.005, 1.0) is Advice.LEAVE
    results += "A" * 50
    assert way.look(0.01, 1.005) is Advice.CUT


@pytest.mark.parametrize("done", ["", "ABCDEFGH"])
def test_where_the_code_waits_with_one_message_those_before_it_go_on(done):
    way, results = begin()
    results += done
    way.look(WHOLE_S * 0.5, 1.0)
    if done:
        assert way.look(WHOLE_S * 0.7, 1.0) is Advice.DOUBT
    assert way.look(WHOLE_S * 0.8, 1.0) is Advice.TAKE
    assert way.so_far() == list(done)


def test_where_the_code_computes_with_one_message_nothing_is_in_doubt():
    way, results = begin()
    results += "ABCDEFGH"
    assert way.look(WHOLE_S * 0.5, 1.0) is Advice.LEAVE
    assert way.look(WHOLE_S * 0.7, 1.002) is Advice.TAKE


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
    assert way.look(1.0, 1.0) is Advice.LEAVE
    assert len(way.so_far()) == 9
