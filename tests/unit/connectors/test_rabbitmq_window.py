"""What was published and not confirmed."""

from types import SimpleNamespace

from arroyo import Event
from arroyo.connectors._rabbitmq_window import Letter, Window


def letters(count, size=1):
    return [
        Letter(Event({"n": n}), SimpleNamespace(message_id=str(n)), bytes(size))
        for n in range(count)
    ]


def filled(count):
    window = Window(100, 1000)
    for letter in letters(count):
        window.put(letter)
    return window


def numbers(sent):
    return [letter.message.metadata["n"] for letter in sent]


def test_what_is_confirmed_makes_room():
    window = filled(100)
    assert not window.has_room(1)
    assert numbers(window.send()) == list(range(100))
    assert not window.has_room(1)
    window.confirm(60, multiple=True)
    assert len(window) == 40
    assert window.has_room(1)
    assert window.is_roomy()
    window.confirm(100, multiple=False)
    assert len(window) == 39
    window.confirm(100, multiple=True)
    assert window.is_empty()


def test_bytes_are_bounded_too_but_for_one_message():
    window = Window(100, 1000)
    assert window.has_room(5000)
    (large,) = letters(1, 5000)
    window.put(large)
    assert not window.has_room(1)
    list(window.send())
    window.confirm(1, multiple=False)
    assert window.has_room(1000)


def test_a_new_channel_gets_what_the_last_one_did_not_confirm_in_order():
    window = filled(6)
    sent = window.send()
    assert numbers([next(sent) for _ in range(4)]) == [0, 1, 2, 3]
    window.confirm(2, multiple=False)
    window.begin_channel()
    assert numbers(window.send()) == [0, 2, 3, 4, 5]
    window.confirm(5, multiple=True)
    assert window.is_empty()


def test_what_the_server_could_not_take_is_sent_again():
    window = filled(3)
    list(window.send())
    window.refuse(2, multiple=True)
    window.confirm(3, multiple=False)
    assert not window.is_empty()
    assert numbers(window.send()) == [0, 1]
    window.confirm(5, multiple=True)
    assert window.is_empty()


def test_what_the_server_returned_is_refused_once_it_is_confirmed():
    window = filled(3)
    list(window.send())
    window.note_return("1", "nobody wants it")
    assert window.refused == []
    window.confirm(3, multiple=True)
    assert [(each.metadata["n"], str(why)) for each, why in window.refused] == [
        (1, "nobody wants it")
    ]


def test_what_was_returned_by_a_channel_that_was_lost_is_tried_again():
    window = filled(1)
    list(window.send())
    window.note_return("0", "nobody wants it")
    window.begin_channel()
    list(window.send())
    window.confirm(1, multiple=True)
    assert window.refused == []
