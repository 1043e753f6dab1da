"""What is wrong with a message, in words that name the field and show the value."""

import msgspec
import pytest

from arroyo.codec._mistakes import find_unencodable, say_mistake, show, with_article
from arroyo.messages import Event, Message

encode = msgspec.msgpack.Encoder().encode


class Shutter(Message):
    open: bool
    motors: dict[str, float] = msgspec.field(default_factory=dict)


def mistake_of(*fields):
    """The error of msgspec on a Shutter with these fields."""
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.msgpack.decode(encode(["Shutter", *fields]), type=Shutter)
    return raised.value


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("yes",), "open: expected bool, got str"),
        ((True, {"x": "1"}), "motors: expected float, got str"),
        ((True, {1: 0.5}), "a key of motors: expected str, got int"),
    ],
)
def test_of_a_message_that_was_never_made_the_field_is_named(fields, words):
    assert say_mistake(mistake_of(*fields), Shutter) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("yes",), "open is 'yes': expected bool, got str"),
        ((True, {"x": "1"}), "motors is {'x': '1'}: expected float, got str"),
        ((True, {"x": 0.5, 1: 0.5}), "motors has the key 1: expected str, got int"),
    ],
)
def test_of_a_message_at_hand_the_value_is_shown_too(fields, words):
    assert say_mistake(mistake_of(*fields), Shutter, Shutter(*fields)) == words


@pytest.mark.parametrize(
    "text", ["three is too many", "Expected `int`, got `str` - at `$[9]`", "Expected - at `$[0]`"]
)
def test_an_error_that_belongs_to_no_field_is_told_as_it_is(text):
    assert say_mistake(ValueError(text), Shutter, Shutter(True)) == text


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (Event({"t": [1, 2j]}), "metadata['t'] is [1, 2j]"),
        (Event({2j: 1}), "metadata has the key 2j"),
        (Event({}, b"", 1j), "dtype is 1j"),
        (Shutter(object), "open is <class 'object'>"),
        (Event({"t": [1, None]}, b"abc"), None),
    ],
)
def test_the_part_that_msgpack_can_not_express_is_found(message, words):
    assert find_unencodable(message, encode) == words


def test_a_value_whose_encoding_raises_anything_is_found_as_well():
    def refuse(value):
        if value == "odd":
            raise RuntimeError

    assert find_unencodable(Event({"a": 1, "b": "odd"}), refuse) == "metadata['b'] is 'odd'"


def test_a_long_value_is_cut_to_fit_into_a_line():
    assert show("x" * 58) == "'" + "x" * 58 + "'"
    assert show("x" * 59) == "'" + "x" * 58 + "…"


def test_a_value_that_can_not_be_shown_is_told_by_its_class():
    class Shy:
        def __repr__(self):
            raise LookupError

    assert show(Shy()) == "a Shy (whose repr() raises LookupError)"


def test_a_class_has_its_article():
    assert (with_article(Event), with_article(Shutter)) == ("an Event", "a Shutter")
