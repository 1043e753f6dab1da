from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from arroyo.messages import Event, Message, Origin, Start, Stop


def with_origin(message, **changes):
    message._origin = Origin("run", "det.0", 1, 7)._replace(**changes)
    return message


def test_a_message_has_no_origin_before_it_enters_a_chain():
    assert Start().origin is None
    with pytest.raises(ValueError, match="a chain gives it one"):
        _ = Event().key


def test_the_key_says_which_message_it_is():
    assert with_origin(Event()).key == "det.0/run/7"
    assert with_origin(Start(), sequence=-1).key == "det.0/run/start"
    assert with_origin(Stop(), sequence=-1).key == "det.0/run/stop"


def test_the_key_is_the_same_for_every_delivery():
    first = with_origin(Event({"n": 1}), epoch=1)
    again = with_origin(Event({"n": 1}), epoch=2)
    assert first.key == again.key


def test_parts_and_paths_have_keys_of_their_own():
    part = with_origin(Event(), fragment=((0, 2), (1, 3)))
    other = with_origin(Event(), fragment=((1, 2), (0, 3)))
    keys = {part.key, other.key, with_origin(Event()).key, with_origin(Event(), path=1).key}
    assert keys == {"det.0/run/7", "det.0/run/7.0.1", "det.0/run/7.1.0", "det.0/run/7@1"}


def test_the_origin_is_no_part_of_the_message():
    assert with_origin(Event({"n": 1})) == Event({"n": 1})


def test_messages_do_not_share_their_metadata():
    one, other = Event(), Event()
    one.metadata["n"] = 1
    assert other.metadata == {}


def test_users_types_are_declared_like_any_struct():
    class Shutter(Message):
        open: bool

    assert Shutter(True).open
    assert Shutter(True).origin is None


def test_an_array_becomes_a_payload_without_a_copy():
    image = np.arange(6, dtype="<u2").reshape(2, 3)
    event = Event.from_array(image, exposure_s=0.5)
    assert event.metadata == {"exposure_s": 0.5}
    assert (event.dtype, event.shape) == ("<u2", (2, 3))
    assert np.shares_memory(event.array, image)


def test_a_payload_becomes_an_array_without_a_copy():
    event = Event({}, b"\1\0\2\0", "<u2", (2,))
    assert event.array.tolist() == [1, 2]
    assert not event.array.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24).reshape(2, 3, 4)[:, ::2].T,
        np.arange(6)[::2],
        np.arange(6)[::-1],
        np.arange(6).reshape(3, 2)[:, 1],
        np.zeros((0, 5), "f4"),
        np.array(3.5),
        np.array(["2024-05-06", "NaT"], "datetime64[ns]"),
        np.array([1, 2], "timedelta64[s]"),
        np.array([True, False]),
        np.array([1 + 2j], ">c16"),
        np.array(["ab", "c"]),
        np.array([b"ab", b"c"]),
        np.float64(2.5),
        [[1, 2], [3, 4]],
    ],
    ids=lambda array: str(getattr(array, "dtype", "list")),
)
def test_arrays_of_any_kind_come_back_as_they_were(array):
    back = Event.from_array(array).array
    np.testing.assert_array_equal(back, array)
    assert back.shape == np.asarray(array).shape
    assert back.dtype == np.asarray(array).dtype


def test_a_mask_is_not_lost_without_a_word():
    masked = np.ma.masked_array([1, 2], [False, True])
    with pytest.raises(TypeError, match=r"send array\.filled"):
        Event.from_array(masked)
    assert Event.from_array(masked.filled(0)).array.tolist() == [1, 0]


@pytest.mark.parametrize("array", [np.array([object()]), np.zeros(2, [("x", "f4")]), [None]])
def test_arrays_without_a_wire_format_are_refused(array):
    with pytest.raises(TypeError, match="send plain numbers"):
        Event.from_array(array)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("", (2,)),
        ("<f4", (3,)),
        ("<f4", (2, 2)),
        ("<f8", (2,)),
        ("<f4", (-1,)),
        ("<f4", (1 << 62, 1 << 62)),
        ("no type", (2,)),
        ("O", (1,)),
        ("<f4,<f4", (1,)),
    ],
)
def test_what_does_not_fit_is_no_array(dtype, shape):
    with pytest.raises(ValueError, match="array"):
        _ = Event({}, b"12345678", dtype, shape).array


def test_a_copy_outlives_the_buffer():
    buffer = bytearray(b"abc")
    event = with_origin(Event({"n": 1}, memoryview(buffer), "|u1", (3,)))
    kept = event.copy()
    buffer[:] = b"xyz"
    assert bytes(kept.payload) == b"abc"
    assert kept.array.tolist() == [97, 98, 99]
    assert (kept.metadata, kept.origin) == (event.metadata, event.origin)


def test_a_copy_of_a_users_event_is_of_the_same_type():
    class Frame(Event):
        gain: float = 1.0

    kept = Frame({}, bytearray(b"a"), gain=2.0).copy()
    assert type(kept) is Frame
    assert kept.gain == 2.0
    assert kept.origin is None


def test_an_event_leaves_nothing_behind_though_the_garbage_collector_does_not_look_at_it():
    class Value:
        pass

    values = Value(), Value(), Value()
    left = [weakref.ref(value) for value in values]
    event = Event({"value": values[0]}, b"")
    event._make_origin, event._origin = values[1:]
    assert not gc.is_tracked(event)
    del values, event
    assert [each() for each in left] == [None] * 3
