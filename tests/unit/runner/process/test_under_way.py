from __future__ import annotations

from arroyo.codec import Batch, Kind
from arroyo.protocol.values.deliveries import Row
from arroyo.runner.process.under_way import WHOLE_S, Advice, UnderWay
from arroyo.runner.user_code.calls import ListedResults

BATCH = Batch("a.0", 1, 0, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0, ranges=((0, 10),))


def begin(now=0.0):
    results = ListedResults()
    return UnderWay(BATCH, Row(range(10), "abcdefghij"), results, now), results


def test_a_batch_that_will_be_through_soon_is_left_alone():
    way, results = begin()
    results += "ABCDE"
    assert way.look(WHOLE_S * 0.4) is Advice.LEAVE


def test_a_batch_that_will_take_long_is_cut_at_the_next_message():
    way, results = begin()
    results += "AB"
    assert way.look(WHOLE_S * 0.4) is Advice.CUT


def test_where_the_code_stays_with_one_message_those_before_it_go_on():
    way, results = begin()
    results += "ABCDEFGH"
    assert way.look(WHOLE_S * 0.3) is Advice.LEAVE
    assert way.look(WHOLE_S * 0.6) is Advice.TAKE
    assert way.so_far() == list("ABCDEFGH")


def test_code_that_stays_with_the_first_message_is_left_when_it_returns():
    way, _ = begin()
    assert way.look(WHOLE_S) is Advice.TAKE
    assert (way.waiting, way.so_far()) == (0, [])


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
