"""Ordinary messages written into a body: what a receiver gets, and what is left to others."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import DETACH_BYTES, Body, MessageCodec
from arroyo.messages import Event, Message, Start, Stop


class Shutter(Message):
    open: bool


class Frame(Event):
    gain: float = 1.0


class Fussy(Message):
    n: int

    def __post_init__(self):
        if self.n == 3:
            raise SystemExit


@pytest.fixture
def codec():
    return MessageCodec([Shutter, Frame, Fussy])


IMAGE = Event.from_array(np.arange(6, dtype="<u2").reshape(2, 3), n=1)
ORDINARY = [Event({"n": 1}, b"abc"), Event(), Event({}, memoryview(b"view")), IMAGE]
OTHERS = {
    "large": Event({}, bytes(DETACH_BYTES)),
    "a large view": Event({}, memoryview(bytes(DETACH_BYTES))),
    "writable": Event({}, bytearray(b"x")),
    "a key that is a number": Event({1: 2}),
    "metadata that is a list": Event([1]),
    "a value without a form": Event({"t": 2j}),
    "a shape below zero": Event({}, b"", "<u2", (-1,)),
    "a dtype of its own": Event({}, b"", "pixel", (1,)),
}


def written(codec, *messages):
    body = Body()
    for message in messages:
        assert codec.write(message, body, len(body.buffer))
    return body


def arrived(codec, body):
    return codec.decode(bytes(body.frame()), (), ())


def test_what_is_written_is_what_each_alone_is_encoded_to(codec):
    body = written(codec, *ORDINARY, Shutter(True))
    assert list(body) == [codec.encode(message) for message in (*ORDINARY, Shutter(True))]
    assert arrived(codec, body) == [*ORDINARY, Shutter(True)]


@pytest.mark.parametrize(
    "message",
    [*OTHERS.values(), Start(), Stop(), Frame(), Shutter("yes"), "text", None],
    ids=[*OTHERS, "Start", "Stop", "Frame", "a field of another type", "text", "None"],
)
def test_anything_else_is_left_to_others_and_leaves_no_trace(codec, message):
    body = written(codec, Event({"n": 1}))
    assert not codec.write(message, body, len(body.buffer))
    assert arrived(codec, body) == [Event({"n": 1})]


def test_a_message_that_ends_the_process_leaves_the_body_whole(codec):
    body, message = written(codec, Event({"n": 1})), Fussy(2)
    message.n = 3
    with pytest.raises(SystemExit):
        codec.write(message, body, len(body.buffer))
    assert arrived(codec, body) == [Event({"n": 1})]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 70_000])
def test_a_list_of_events_makes_the_body_that_they_make_one_by_one(codec, count):
    events = [Event({"n": number}) for number in range(count)]
    body = codec.write_list(events)
    assert len(body) == count
    assert body.frame() == written(codec, *events).frame()


@pytest.mark.parametrize("name", OTHERS)
def test_a_list_with_one_that_is_out_of_the_ordinary_makes_none(codec, name):
    assert codec.write_list([Event(), OTHERS[name], Event()]) is None


metadata = st.dictionaries(
    st.one_of(st.text(max_size=3), st.integers(0, 3)),
    st.one_of(st.none(), st.floats(allow_nan=False), st.just(2j)),
    max_size=2,
)
dtypes = st.sampled_from(["", "<u2", "pixel", "|S8"])
events = st.builds(Event, metadata, st.binary(max_size=4), dtypes, st.tuples(st.integers(-1, 3)))


@given(st.lists(events, max_size=4))
def test_a_list_is_written_where_each_of_its_events_is(made):
    codec = MessageCodec()
    one_by_one = Body()
    all_are = all([codec.write(each, one_by_one, len(one_by_one.buffer)) for each in made])
    body = codec.write_list(made)
    assert (body is not None) == all_are
    if body is not None:
        assert body.frame() == one_by_one.frame()
        assert msgspec.msgpack.decode(body.frame(), type=list[Event]) == made
