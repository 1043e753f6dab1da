from __future__ import annotations

from arroyo.codec import Batch, Kind, Open
from arroyo.protocol.receiving.inbound_links import InboundLinks


def opening(link=1, incarnation=1):
    return Open(1, "a", 0, incarnation, link)


def batch(number, link=1, sender="a.0"):
    return Batch(sender, link, number, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0)


def test_batches_are_taken_in_their_order():
    senders = InboundLinks({"a.0": False})
    assert senders.open("a.0", opening())
    assert [senders.takes(batch(number), 1) for number in (0, 1, 1, 3, 2, 3)] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]


def test_a_batch_without_its_open_is_not_taken():
    assert not InboundLinks({"a.0": False}).takes(batch(0), 1)


def test_nobody_else_may_send():
    senders = InboundLinks({"a.0": False, "p.0": True})
    assert not senders.open("x.0", opening())
    assert not senders.open("p.0", opening())
    assert not senders.takes(batch(0, sender="x.0"), 1)


def test_a_new_link_begins_anew():
    senders = InboundLinks({"a.0": False})
    senders.open("a.0", opening(1))
    senders.takes(batch(0), 1)
    senders.open("a.0", opening(2))
    assert not senders.takes(batch(1, link=1), 1)
    assert senders.takes(batch(0, link=2), 1)


def test_an_open_that_was_overtaken_is_ignored():
    senders = InboundLinks({"a.0": False})
    senders.open("a.0", opening(2))
    assert senders.open("a.0", opening(1))
    assert senders.takes(batch(0, link=2), 1)


def test_an_open_that_comes_twice_changes_nothing():
    senders = InboundLinks({"a.0": False})
    senders.open("a.0", opening())
    senders.takes(batch(0), 1)
    senders.open("a.0", opening())
    assert senders.takes(batch(1), 1)


def test_a_later_life_counts_even_if_the_clock_went_back():
    senders = InboundLinks({"a.0": False})
    senders.open("a.0", opening(9, incarnation=9))
    senders.open("a.0", opening(5, incarnation=5))
    assert senders.takes(batch(0, link=5), 1)


def test_an_open_of_a_life_before_the_one_that_finished_for_good_changes_nothing():
    senders = InboundLinks({"a.0": False})
    senders.open("a.0", opening(9, incarnation=9))
    senders.end("a.0", 9, final=True)
    assert senders.open("a.0", opening(5, incarnation=5))
    assert senders.all_finished
    assert not senders.takes(batch(0, link=5), 1)


def test_a_life_after_one_that_finished_for_good_is_heard():
    senders = InboundLinks({"a.0": False})
    senders.open("a.0", opening(5, incarnation=5))
    senders.end("a.0", 5, final=True)
    senders.open("a.0", opening(9, incarnation=9))
    assert not senders.all_finished
    assert senders.takes(batch(0, link=9), 1)


def test_what_pub_sub_loses_is_counted():
    senders = InboundLinks({"p.0": True})
    assert senders.takes(batch(10, sender="p.0"), 3)
    assert senders.dropped == 0
    assert senders.takes(batch(18, sender="p.0"), 2)
    assert senders.dropped == 5
    assert senders.takes(batch(0, link=2, sender="p.0"), 1)
    assert senders.dropped == 5


def test_what_came_by_pub_sub_between_two_lives_is_counted_once():
    before, after = InboundLinks({"a.0": False, "p.0": True}), InboundLinks({"p.0": True})
    before.open("a.0", opening())
    assert before.takes(batch(10, sender="p.0"), 3)
    assert before.places == {"p.0": (1, 13)}
    after.resume(before.places)
    assert (after.dropped, after.places) == (0, before.places)
    assert after.takes(batch(20, sender="p.0"), 2)
    assert after.takes(batch(22, sender="p.0"), 2)
    assert (after.dropped, after.places) == (7, {"p.0": (1, 24)})


def test_what_another_life_of_the_sender_has_sent_is_not_known():
    senders = InboundLinks({"p.0": True})
    senders.resume({"p.0": (1, 13), "gone.0": (1, 1)})
    assert senders.takes(batch(20, link=2, sender="p.0"), 1)
    assert senders.takes(batch(21, link=2, sender="p.0"), 1)
    assert (senders.dropped, senders.places) == (0, {"p.0": (2, 22)})
    senders.resume({"p.0": (1, 13)})
    assert senders.end("p.0", 2, final=True)
    assert senders.all_finished


def test_the_inputs_have_finished_when_each_has_said_so_for_good():
    senders = InboundLinks({"a.0": False, "a.1": False, "p.0": True})
    for name in ("a.0", "a.1"):
        senders.open(name, opening())
        assert senders.end(name, 1, final=True)
    assert not senders.all_finished
    assert senders.known_ended
    assert senders.end("p.0", 7, final=True)
    assert senders.all_finished
    senders.end("a.0", 1, final=False)
    assert not senders.all_finished
    assert senders.known_ended


def test_the_end_of_an_unknown_link_is_not_taken():
    senders = InboundLinks({"a.0": False})
    assert not senders.end("a.0", 1, final=True)
    senders.open("a.0", opening(2))
    assert not senders.end("a.0", 1, final=True)
    assert not senders.known_ended
