from __future__ import annotations

import collections
import contextlib
import datetime
import mmap
from array import array as numbers

import msgspec
import numpy as np
import pytest
from hostile_frames import HOSTILE_BODIES
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import DETACH_BYTES, Body, MessageCodec, Unreadable, join
from arroyo.errors import DecodeError, EncodeError
from arroyo.messages import Event, Message, Start, Stop


class Shutter(Message):
    open: bool
    motors: dict[str, float]


class Frame(Event):
    gain: float = 1.0


class Stranger(Message):
    name: str = ""


class Opaque:
    def __repr__(self):
        return "Opaque()"


@pytest.fixture
def codec():
    return MessageCodec([Shutter, Frame])


def travel(codec, *messages):
    """What arrives: frames are bytes as a socket delivers them."""
    body, detached, payloads = join([codec.encode(message) for message in messages])
    return codec.decode(memoryview(bytes(body)), detached, [bytes(each) for each in payloads])


def test_a_run_comes_back_as_it_was(codec):
    run = [Start({"sample": "silver behenate"}), Event({"n": 1}, b"abc"), Stop({"ok": True})]
    assert travel(codec, *run) == run


def test_users_own_types_come_back_as_they_were(codec):
    sent = [Shutter(True, {"x": 1.5}), Frame({"n": 2}, b"\1\2", gain=0.5)]
    arrived = travel(codec, *sent)
    assert arrived == sent
    assert [type(each) for each in arrived] == [Shutter, Frame]


def test_a_payload_of_any_size_comes_back_as_it_was(codec):
    for size in (0, 1, DETACH_BYTES - 1, DETACH_BYTES, 3 * DETACH_BYTES):
        (arrived,) = travel(codec, Event({}, b"\7" * size))
        assert bytes(arrived.payload) == b"\7" * size


def test_only_large_payloads_travel_beside_the_body(codec):
    small, large = Event({}, bytes(DETACH_BYTES - 1)), Event({}, bytes(DETACH_BYTES))
    body, detached, payloads = join([codec.encode(each) for each in (small, large, small, large)])
    assert detached == (1, 3)
    assert [len(each) for each in payloads] == [DETACH_BYTES, DETACH_BYTES]
    assert len(body) < 3 * DETACH_BYTES


def test_a_large_read_only_payload_is_not_copied(codec):
    payload = bytes(DETACH_BYTES)
    _, _, (beside,) = join([codec.encode(Event({}, payload))])
    assert beside is payload


def test_a_large_read_only_array_is_not_copied(codec):
    array = np.arange(DETACH_BYTES, dtype="<f8")
    array.flags.writeable = False
    _, _, (beside,) = join([codec.encode(Event.from_array(array))])
    assert np.shares_memory(np.frombuffer(beside, "<f8"), array)


@pytest.mark.parametrize("size", [64, DETACH_BYTES])
def test_a_writable_buffer_may_be_used_again_at_once(codec, size):
    buffer = bytearray(b"\1" * size)
    encoded = codec.encode(Event({}, buffer))
    buffer[:] = b"\2" * size
    body, detached, payloads = join([encoded])
    (arrived,) = codec.decode(body, detached, payloads)
    assert bytes(arrived.payload) == b"\1" * size


@pytest.mark.parametrize("size", [64, DETACH_BYTES])
def test_what_arrives_is_a_read_only_view_of_the_frame(codec, size):
    body, detached, payloads = join([codec.encode(Event({}, bytes(size)))])
    frames = [memoryview(bytearray(each)) for each in payloads]
    (arrived,) = codec.decode(body, detached, frames)
    assert arrived.payload.readonly
    whole = np.frombuffer(frames[0] if frames else body, np.uint8)
    assert np.shares_memory(np.frombuffer(arrived.payload, np.uint8), whole)


def test_an_array_comes_back_with_its_type_and_shape(codec):
    image = np.arange(12, dtype=">i2").reshape(3, 4)
    (arrived,) = travel(codec, Event.from_array(image, exposure_s=0.1))
    assert arrived.metadata == {"exposure_s": 0.1}
    assert arrived.array.dtype == image.dtype
    np.testing.assert_array_equal(arrived.array, image)


def test_numpy_scalars_and_arrays_in_metadata_become_numbers_and_lists(codec):
    metadata = {
        "n": np.int64(7),
        "q": np.float32(0.5),
        "on": np.bool_(True),
        "axes": np.array([1, 2]),
        "when": datetime.datetime(2024, 5, 6, tzinfo=datetime.UTC),
        "raw": b"\0\1",
    }
    (arrived,) = travel(codec, Event(metadata))
    assert arrived.metadata["axes"] == [1, 2]
    assert type(arrived.metadata["n"]) is int
    assert arrived.metadata["q"] == 0.5
    assert arrived.metadata["on"] is True
    assert arrived.metadata["raw"] == b"\0\1"


@given(st.lists(st.binary(max_size=20), max_size=40))
def test_any_number_of_messages_makes_one_body(payloads):
    codec = MessageCodec()
    arrived = travel(codec, *[Event({"n": n}, each) for n, each in enumerate(payloads)])
    assert [bytes(each.payload) for each in arrived] == payloads


@pytest.mark.parametrize("count", [15, 16, 65_535, 65_536])
def test_a_body_may_hold_any_number_of_messages(codec, count):
    item = codec.encode(Stop())
    body, detached, payloads = join([item] * count)
    assert len(codec.decode(body, detached, payloads)) == count


# What can't be sent


def test_a_type_that_the_chain_does_not_know_is_refused_with_what_to_do(codec):
    with pytest.raises(EncodeError, match="Stranger is not a message type of this chain; name it"):
        codec.encode(Stranger())


def test_something_that_is_no_message_is_refused(codec):
    with pytest.raises(EncodeError, match=r"^dict is not a message type .*; hand over a Start,"):
        codec.encode({"metadata": {}})


def endless():
    nest = {}
    nest["self"] = nest
    return nest


@pytest.mark.parametrize(
    "metadata",
    [
        {"x": Opaque()},
        {"x": 1 << 70},
        {"x": "\ud800"},
        {Opaque(): 1},
        {"x": 1j},
        endless(),
    ],
    ids=["object", "large number", "lone surrogate", "key", "complex", "endless"],
)
def test_metadata_that_msgpack_can_not_hold_is_refused(codec, metadata):
    with pytest.raises(EncodeError, match="an Event can't be sent"):
        codec.encode(Event(metadata))


@pytest.mark.parametrize("size", [10, 2 * DETACH_BYTES])
def test_a_payload_with_gaps_travels_without_them(codec, size):
    payload = memoryview(bytes(range(256)) * (size // 128 + 1))[::2]
    (arrived,) = travel(codec, Event({}, payload))
    assert bytes(arrived.payload) == payload.tobytes()


@pytest.mark.parametrize("count", [2, 10_000])
def test_any_object_with_a_buffer_is_a_payload(codec, count):
    for payload in (numbers("H", range(count)), np.arange(count), np.arange(2 * count)[::2]):
        (arrived,) = travel(codec, Event({}, payload))
        assert bytes(arrived.payload) == bytes(payload)


@pytest.mark.parametrize("payload", ["text", 5, None, [1, 2]])
def test_a_payload_that_is_no_buffer_is_refused(codec, payload):
    with pytest.raises(EncodeError, match="can't be sent"):
        codec.encode(Event({}, payload))


REFUSED = {
    "a key that is a number": (Event({1: 2}), "metadata has the key 1: expected str, got int"),
    "a key in a subclass": (Frame({b"a": 2}), "metadata has the key b'a': expected str, got bytes"),
    "a key of a Start": (Start({(1, 2): 3}), r"data has the key \(1, 2\): expected str, got array"),
    "metadata that is a list": (Event([1]), r"metadata is \[1\]: expected object, got array"),
    "data that is text": (Stop("done"), "data is 'done': expected object, got str"),
    "a value of no type": (Event({"t": {1, Opaque}}), r"metadata\['t'\] is \{.*Opaque"),
    "a payload that is a list": (Event({}, [1, 2]), r"payload is \[1, 2\], a list: expected bytes"),
    "a length that is a fraction": (
        Event({}, b"", "<f4", (1.5, 2)),
        r"shape is \(1.5, 2\): expect",
    ),
    "a length that is a bool": (
        Event({}, b"", "<f4", (True,)),
        r"shape is \(True,\): expected int",
    ),
    "a length below zero": (
        Event({}, b"", "<f4", (-1, 2)),
        r"shape is \(-1, 2\): expected lengths",
    ),
    "a shape that is a number": (Event({}, b"", "<f4", 5), "shape is 5: expected array, got int"),
    "a dtype that is none": (Event({}, b"", None), "dtype is None: expected str, got None"),
    "a dtype that numpy lacks": (
        Event({}, b"", "pixel", (1,)),
        "dtype is 'pixel': expected a plain",
    ),
    "a dtype with fields": (Event({}, b"", "u1,f4", (1,)), "dtype is 'u1,f4': expected a plain"),
    "a field of another type": (Shutter("yes", {}), "open is 'yes': expected bool, got str"),
    "an item of another type": (
        Shutter(True, {"x": "1"}),
        r"motors is .*: expected float, got str",
    ),
    "a number that is no number": (
        Frame({}, gain="high"),
        "gain is 'high': expected float, got str",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_receivers_could_not_decode_is_refused_with_its_field_and_value(codec, name):
    message, words = REFUSED[name]
    body = Body()
    assert not codec.write(message, body, len(body.buffer))
    assert (len(body), body.size) == (0, 0)
    with pytest.raises(EncodeError, match=f"an? {type(message).__name__} can't be sent: {words}"):
        codec.encode(message)


@pytest.mark.parametrize("size", [10, DETACH_BYTES])
def test_refused_fields_beside_a_payload_of_any_size(codec, size):
    with pytest.raises(EncodeError, match="metadata has the key 1"):
        codec.encode(Event({1: 2}, bytes(size)))


def test_a_payload_of_4_gib_is_refused(codec):
    refused = pytest.raises(EncodeError, match="payload has 4294967296 bytes, expected less than 4")
    with mmap.mmap(-1, 1 << 32) as pages, memoryview(pages) as payload, refused:
        codec.encode(Event({}, payload))


@pytest.mark.parametrize(
    "message",
    [
        Event({"a": 1}, b"x" * 8, ">f8", (1,)),
        Event({"a": 1}, b"x" * 8, "float64", [1]),
        Event({"a": 1}, b"x" * 8, "<M8[25ms]", (np.int64(1),)),
        Event({"a": 1}, b"x" * 8, "|S8", ()),
        Event({"nested": {1: {2: 3}}}),
        Event(collections.OrderedDict(a=1)),
        Frame({"a": 1}, bytearray(b"x"), gain=2),
    ],
    ids=repr,
)
def test_what_is_unusual_but_can_be_decoded_is_sent(codec, message):
    (arrived,) = travel(codec, message)
    assert arrived.metadata == message.metadata
    assert arrived.dtype == message.dtype
    assert arrived.shape == tuple(message.shape)


def test_a_class_that_raises_of_itself_is_refused_in_words(codec):
    class Fussy(Message):
        n: int

        def __post_init__(self):
            if self.n == 3:
                raise RuntimeError("three is too many")

    message = Fussy(2)
    message.n = 3
    with pytest.raises(EncodeError, match="a Fussy can't be sent: three is too many"):
        MessageCodec([Fussy]).encode(message)


# What can't be read


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_is_refused_in_words(codec, name):
    with pytest.raises(DecodeError):
        codec.decode(HOSTILE_BODIES[name], (), ())


@pytest.mark.parametrize(
    ("detached", "payloads", "words"),
    [
        ((0,), [], "1 payloads were announced, 0 came"),
        ((), [b"x"], "0 payloads were announced, 1 came"),
        ((5,), [b"x"], "message 5 of 2"),
        ((-1,), [b"x"], "message -1 of 2"),
        ((1,), [b"x"], "belongs to a Stop"),
    ],
)
def test_payloads_that_do_not_fit_are_refused(codec, detached, payloads, words):
    body, _, _ = join([codec.encode(Event()), codec.encode(Stop())])
    with pytest.raises(DecodeError, match=words):
        codec.decode(body, detached, payloads)


@given(st.integers(0, 100), st.integers(0, 255))
def test_a_body_with_one_wrong_byte_is_read_or_refused(at, byte):
    codec = MessageCodec([Shutter])
    body = bytearray(
        join([codec.encode(Event({"a": 1}, b"xy")), codec.encode(Shutter(True, {}))])[0]
    )
    body[at % len(body)] = byte
    with contextlib.suppress(DecodeError):
        codec.decode(bytes(body), (), ())


def test_two_types_of_one_name_can_not_share_a_chain():
    twin = msgspec.defstruct("Start", [], bases=(Message,))
    with pytest.raises(TypeError):
        MessageCodec([twin])


# One that can't be read among others


def misread(codec, *messages):
    """What a chain reads in which `Shutter.motors` means something else."""
    other = msgspec.defstruct(
        "Shutter", [("open", bool), ("motors", dict[str, str])], bases=(Message,)
    )
    lens = msgspec.defstruct("Frame", [("gain", str, "")], bases=(Event,))
    body, detached, payloads = join([codec.encode(message) for message in messages])
    return MessageCodec([other, lens]).decode_each(bytes(body), detached, payloads)


def test_one_message_that_can_not_be_read_takes_no_other_along(codec):
    first, bad, last = misread(codec, Event({"n": 1}), Shutter(True, {"x": 1.5}), Event({"n": 2}))
    assert (first.metadata, last.metadata) == ({"n": 1}, {"n": 2})
    assert isinstance(bad, Unreadable)
    assert bad.type == "Shutter"
    assert str(bad.error) == "a Shutter is not as declared: motors: expected str, got float"


@pytest.mark.parametrize("size", [10, DETACH_BYTES])
def test_what_can_not_be_read_is_kept_whole_and_can_be_read_by_who_knows_it(codec, size):
    sent = Frame({"n": 1}, bytes(size), gain=0.5)
    _, bad = misread(codec, Event({}, bytes(DETACH_BYTES)), sent)
    assert codec.unpack(bad.packed) == sent


def test_a_class_that_the_chain_does_not_name_is_said_so(codec):
    body, _, _ = join([codec.encode(Shutter(True, {}))])
    (bad,) = MessageCodec().decode_each(bytes(body), (), ())
    assert str(bad.error).startswith("Shutter is not a message type of this chain; name it")


def test_of_several_messages_all_are_encoded_or_what_was_kept_is_given_back(codec):
    given_back = []
    codec.give_back = given_back.extend
    large = Event({}, bytes(DETACH_BYTES))
    assert codec.encode_all([large, Event({"n": 1})])[1] == codec.encode(Event({"n": 1}))
    with pytest.raises(EncodeError):
        codec.encode_all([large, Event({"n": Opaque()})])
    assert [item.payload for item in given_back] == [large.payload]


def test_the_data_of_a_start_is_read_without_its_class():
    start = msgspec.defstruct("Sample", [("name", str, "")], bases=(Start,))
    body, _, _ = join([MessageCodec([start]).encode(start({"energy": 10}, "gold"))])
    (bad,) = MessageCodec().decode_each(bytes(body), (), ())
    assert (bad.type, bad.data) == ("Sample", {"energy": 10})


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_is_refused_or_read_in_part(codec, name):
    with contextlib.suppress(DecodeError):
        for each in codec.decode_each(HOSTILE_BODIES[name], (), ()):
            if isinstance(each, Unreadable):
                assert isinstance((each.type, each.data), tuple)
                assert str(each.error)
