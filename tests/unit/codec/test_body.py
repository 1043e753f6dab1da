import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import DETACH_BYTES, HEAD_BYTES, Body, MessageCodec, join, size_of, slabs_of
from arroyo.errors import EncodeError
from arroyo.messages import Event, Message, Start, Stop


class Shutter(Message):
    open: bool


class Tagged(Event):
    pass


CODEC = MessageCodec((Shutter, Tagged))


def body_of(*messages):
    body = Body()
    for message in messages:
        assert CODEC.write(message, body, len(body.buffer))
    return body


@given(st.lists(st.tuples(st.integers(), st.binary(max_size=300)), max_size=40))
def test_what_was_written_is_read_back_and_is_what_encoding_one_by_one_gives(contents):
    messages = [Event({"n": str(number)}, payload) for number, payload in contents]
    body = body_of(*messages)
    frame, detached, payloads = join(body)
    assert (detached, payloads, slabs_of(body)) == ((), [], ())
    assert CODEC.decode(bytes(frame), (), ()) == messages
    encoded = [CODEC.encode(message) for message in messages]
    assert list(body) == encoded
    assert list(body[1:3]) == encoded[1:3]
    assert len(body) == len(encoded)
    assert size_of(body) == size_of(encoded) == len(frame) - HEAD_BYTES


PLACES = st.tuples(st.integers(0, 45), st.integers(0, 45))


@given(st.lists(st.binary(max_size=300), max_size=40), st.lists(PLACES, max_size=4))
def test_a_part_of_a_body_is_a_body_and_so_are_parts_of_it(payloads, places):
    messages = [Event({}, payload) for payload in payloads]
    body = body_of(*messages)
    for first, end in places:
        body, messages = body[first:end], messages[first:end]
        assert type(body) is Body
        assert len(body) == len(messages)
        assert list(body) == [CODEC.encode(message) for message in messages]
        assert CODEC.decode(bytes(join(body)[0]), (), ()) == messages
        assert size_of(body) == sum(map(len, body))


def test_own_types_and_views_go_into_a_body():
    view = memoryview(b"abc")
    assert CODEC.decode(bytes(join(body_of(Shutter(True), Event({}, view)))[0]), (), ()) == [
        Shutter(True),
        Event({}, view),
    ]


@pytest.mark.parametrize(
    "message",
    [
        None,
        [Event()],
        Start(),
        Stop(),
        Tagged(),
        Event({}, bytes(DETACH_BYTES)),
        Event({}, memoryview(np.zeros(DETACH_BYTES // 8, "f8"))),
        Event({}, memoryview(b"abcdef")[::2]),
        Event({}, bytearray(3)),
        Event({"cannot": object()}),
        Event({"cannot": {1: object()}, "deep": ["x" * 5000, object()]}),
    ],
)
def test_what_is_not_small_and_plain_leaves_a_body_as_it_was(message):
    body = body_of(Event({"n": 1}))
    before = bytes(body.buffer)
    assert not CODEC.write(message, body, len(body.buffer))
    assert bytes(body.buffer) == before
    assert len(body) == 1


@given(st.lists(st.tuples(st.integers(), st.binary(max_size=300)), max_size=40))
def test_a_list_that_is_written_at_once_is_the_same_as_one_by_one(contents):
    events = [Event({"n": number % 100}, payload) for number, payload in contents]
    events += [Event.from_array(np.arange(4)), Event({}, memoryview(b"abc"))]
    body = CODEC.write_list(events)
    assert bytes(body.buffer[HEAD_BYTES:]) == bytes(body_of(*events).buffer[HEAD_BYTES:])
    assert join(body) == join(body_of(*events))
    assert list(body) == [CODEC.encode(event) for event in events]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_a_list_of_any_length_is_read_back(count):
    body = CODEC.write_list([Event()] * count)
    assert len(body) == count
    assert CODEC.decode(bytes(join(body)[0]), (), ()) == [Event()] * count


@pytest.mark.parametrize(
    "event",
    [
        Event({}, bytes(DETACH_BYTES)),
        Event({}, memoryview(np.zeros(DETACH_BYTES // 8, "f8"))),
        Event({}, memoryview(b"abcdef")[::2]),
        Event({}, bytearray(3)),
        Event({1: "a"}),
        Event({}, b"", "<f4", [2]),
        Event({}, b"", 5),
        Event([]),
        Event({"cannot": object()}),
    ],
)
def test_no_list_is_written_at_once_where_one_is_out_of_the_ordinary(event):
    assert CODEC.write_list([Event({"n": 1}), event, Event({"n": 2})]) is None


class _Raising:
    def tolist(self):
        raise KeyError("no")


def test_an_error_of_a_value_of_the_user_leaves_nothing_behind():
    body = body_of(Event({"n": 1}))
    message = Event({"first": 1, "value": _Raising()})
    assert not CODEC.write(message, body, len(body.buffer))
    with pytest.raises(EncodeError, match=r"'value'.* 'no'"):
        CODEC.encode(message)
    assert list(body) == [CODEC.encode(Event({"n": 1}))]


def test_a_body_of_encoded_messages_is_the_same_as_one_that_was_written():
    body = Body()
    body.append(CODEC.encode(Event({"n": 1})))
    body.append(CODEC.encode(Shutter(False)))
    assert join(body) == join(body_of(Event({"n": 1}), Shutter(False)))


def test_an_empty_body_is_an_empty_list():
    assert msgspec.msgpack.decode(join(Body())[0]) == []
    assert not Body()


def test_what_another_thread_appends_is_there_once_it_is_whole():
    body = Body()
    for item in (b"\x01", b"\x02"):
        body.append(item)
    assert body.so_far() == [b"\x01", b"\x02"]
    body.buffer += b"\x03"  # the other thread has not counted it yet
    assert body.so_far() == []
    body.length += 1
    assert body.so_far() == [b"\x01", b"\x02", b"\x03"]
    assert list(body) == [b"\x01", b"\x02", b"\x03"]
