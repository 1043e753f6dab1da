"""What was published and not confirmed."""

from arroyo import Event
from arroyo.connectors.rabbitmq.unconfirmed import OutgoingMessage, UnconfirmedMessages


def messages(count, size=1):
    return [OutgoingMessage(Event({"n": n}), str(n), b"", bytes(size)) for n in range(count)]


def filled(count):
    unconfirmed = UnconfirmedMessages(100, 1000)
    for outgoing in messages(count):
        unconfirmed.put(outgoing)
    return unconfirmed


def refused(unconfirmed):
    flush = unconfirmed.begin_flush()
    assert unconfirmed.is_flushed(flush)
    return [(each.metadata["n"], str(why)) for each, why in unconfirmed.take_refused(flush)]


def numbers(sent):
    return [outgoing.message.metadata["n"] for outgoing in sent]


def test_what_is_confirmed_makes_room():
    unconfirmed = filled(100)
    assert not unconfirmed.has_room(1)
    assert numbers(unconfirmed.send()) == list(range(100))
    assert not unconfirmed.has_room(1)
    unconfirmed.confirm(60, multiple=True)
    assert len(unconfirmed) == 40
    assert unconfirmed.has_room(1)
    assert unconfirmed.is_roomy()
    unconfirmed.confirm(100, multiple=False)
    assert len(unconfirmed) == 39
    unconfirmed.confirm(100, multiple=True)
    assert len(unconfirmed) == 0


def test_bytes_are_bounded_too_but_for_one_message():
    unconfirmed = UnconfirmedMessages(100, 1000)
    assert unconfirmed.has_room(5000)
    (large,) = messages(1, 5000)
    unconfirmed.put(large)
    assert not unconfirmed.has_room(1)
    list(unconfirmed.send())
    unconfirmed.confirm(1, multiple=False)
    assert unconfirmed.has_room(1000)


def test_a_new_channel_gets_what_the_last_one_did_not_confirm_in_order():
    unconfirmed = filled(6)
    sent = unconfirmed.send()
    assert numbers([next(sent) for _ in range(4)]) == [0, 1, 2, 3]
    unconfirmed.confirm(2, multiple=False)
    unconfirmed.begin_channel()
    assert numbers(unconfirmed.send()) == [0, 2, 3, 4, 5]
    unconfirmed.confirm(5, multiple=True)
    assert len(unconfirmed) == 0


def test_what_the_server_could_not_take_is_sent_again():
    unconfirmed = filled(3)
    list(unconfirmed.send())
    unconfirmed.refuse(2, multiple=True)
    unconfirmed.confirm(3, multiple=False)
    assert len(unconfirmed) == 2
    assert numbers(unconfirmed.send()) == [0, 1]
    unconfirmed.confirm(5, multiple=True)
    assert len(unconfirmed) == 0


def test_what_the_server_returned_is_refused_once_it_is_confirmed():
    unconfirmed = filled(3)
    list(unconfirmed.send())
    unconfirmed.note_return("1", "nobody wants it")
    assert not unconfirmed.is_flushed(0)
    unconfirmed.confirm(3, multiple=True)
    assert refused(unconfirmed) == [(1, "nobody wants it")]
    assert refused(unconfirmed) == []


def test_what_was_returned_by_a_channel_that_was_lost_is_tried_again():
    unconfirmed = filled(1)
    list(unconfirmed.send())
    unconfirmed.note_return("0", "nobody wants it")
    unconfirmed.begin_channel()
    list(unconfirmed.send())
    unconfirmed.confirm(1, multiple=True)
    assert refused(unconfirmed) == []


def test_a_flush_is_for_what_was_published_before_it():
    unconfirmed = filled(3)
    first = unconfirmed.begin_flush()
    for outgoing in messages(2):
        unconfirmed.put(outgoing)
    second = unconfirmed.begin_flush()
    list(unconfirmed.send())
    unconfirmed.confirm(2, multiple=True)
    unconfirmed.confirm(5, multiple=False)
    assert not unconfirmed.is_flushed(first)
    unconfirmed.confirm(3, multiple=True)
    assert unconfirmed.is_flushed(first)
    assert not unconfirmed.is_flushed(second)
    unconfirmed.confirm(4, multiple=True)
    assert unconfirmed.is_flushed(second)


def test_what_the_server_could_not_take_holds_up_its_own_flush():
    unconfirmed = filled(2)
    first = unconfirmed.begin_flush()
    unconfirmed.put(messages(3)[2])
    list(unconfirmed.send())
    unconfirmed.refuse(1, multiple=False)
    unconfirmed.confirm(3, multiple=True)
    assert not unconfirmed.is_flushed(first)
    assert numbers(unconfirmed.send()) == [0]
    unconfirmed.confirm(4, multiple=False)
    assert unconfirmed.is_flushed(first)


def test_a_flush_tells_of_no_later_message_that_was_returned():
    unconfirmed = filled(1)
    first = unconfirmed.begin_flush()
    unconfirmed.put(messages(2)[1])
    list(unconfirmed.send())
    unconfirmed.note_return("1", "nobody wants it")
    unconfirmed.confirm(2, multiple=True)
    assert unconfirmed.is_flushed(first)
    assert unconfirmed.take_refused(first) == []
    assert refused(unconfirmed) == [(1, "nobody wants it")]
