from __future__ import annotations

import contextlib
import json
import math

import msgspec
import numpy as np
import pytest
from hostile_outward import HOSTILE_OUTWARD
from hypothesis import given
from hypothesis import strategies as st

from arroyo.connectors.wire_format import OutwardParser, write_outward
from arroyo.errors import DecodeError, EncodeError
from arroyo.messages import Event, Message, Origin, Start, Stop


class Peak(Message):
    position: tuple[float, float]
    mask: bytes = b""


class Pattern(Event):
    wavelength: float = 0.0


def with_origin(message, **changes):
    message._origin = Origin("run-1", "images.0", 7, 3)._replace(**changes)
    return message


def read(message, types=()):
    return OutwardParser(types).parse(write_outward(message))


# Writing


def test_an_event_is_a_json_header_and_its_payload():
    header, payload = write_outward(with_origin(Event({"exposure": 0.5}, b"abc")))
    assert json.loads(header) == {
        "type": "Event",
        "run": "run-1",
        "source": "images.0",
        "sequence": 3,
        "metadata": {"exposure": 0.5},
    }
    assert payload == b"abc"


def test_an_array_says_its_dtype_and_shape_and_is_not_copied():
    array = np.arange(6, dtype=">u2").reshape(2, 3)
    header, payload = write_outward(Event.from_array(array))
    assert json.loads(header)["dtype"] == ">u2"
    assert json.loads(header)["shape"] == [2, 3]
    assert np.shares_memory(np.frombuffer(payload, np.uint8), array)


def test_start_and_stop_have_data_and_no_sequence():
    for message in (Start({"sample": "AgBeh"}), Stop({"complete": True})):
        header, payload = write_outward(with_origin(message, sequence=-1))
        fields = json.loads(header)
        assert fields["data"] == message.data
        assert "sequence" not in fields
        assert "metadata" not in fields
        assert payload == b""


def test_fragment_and_path_are_written_where_they_apply():
    header, _ = write_outward(with_origin(Event(), fragment=((0, 2), (1, 3)), path=4))
    assert json.loads(header)["fragment"] == [[0, 2], [1, 3]]
    assert json.loads(header)["path"] == 4


def test_a_users_message_has_its_fields_under_data():
    header, payload = write_outward(Peak((1.0, 2.0), b"\x01"))
    assert json.loads(header) == {"type": "Peak", "data": {"position": [1.0, 2.0], "mask": "AQ=="}}
    assert payload == b""


def test_numpy_numbers_in_metadata_become_plain_numbers():
    header, _ = write_outward(Event({"n": np.int32(4), "row": np.arange(2)}))
    assert json.loads(header)["metadata"] == {"n": 4, "row": [0, 1]}


def test_a_payload_of_another_item_size_is_written_as_bytes():
    values = np.array([1.0, 2.0])
    _, payload = write_outward(Event({}, memoryview(values)))
    assert len(payload) == 16
    _, payload = write_outward(Event({}, memoryview(values[::2])))
    assert bytes(payload) == values[:1].tobytes()
    _, payload = write_outward(Event({}, memoryview(np.zeros((0, 3)))))
    assert payload == b""


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}, "\ud800"])
def test_what_json_cannot_express_is_refused(value):
    with pytest.raises(EncodeError, match="this Event can't be written as JSON"):
        write_outward(Event({"value": value}))


# Reading back


@pytest.mark.parametrize(
    "message",
    [
        Start({"sample": "AgBeh", "q": [1, 2.5, None, True]}),
        Event({"exposure": 0.5}, b"abc"),
        Event(),
        Stop({"complete": False}),
    ],
)
def test_what_is_written_is_read_back(message):
    assert read(message) == message
    assert read(message).origin is None


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype="<f4").reshape(3, 4),
        np.array(1.5),
        np.zeros((0, 5), "<i8"),
        np.array([True, False]),
        np.array(["2024-01-01"], "<M8[ns]"),
        np.array(["é", "long"]),
        np.array([b"ab"]),
        np.array([1 + 2j], ">c16"),
    ],
)
def test_arrays_come_back_as_they_were(array):
    back = read(Event.from_array(array))
    assert back.dtype == array.dtype.str
    np.testing.assert_array_equal(back.array, array)


def test_the_payload_is_a_view_of_the_frame():
    event = Event.from_array(np.arange(4))
    assert np.shares_memory(read(event).array, event.array)


def test_where_the_sender_had_it_from_is_kept_but_is_not_its_origin():
    event = read(with_origin(Event({"a": 1}), fragment=((0, 2),)))
    assert event.metadata["upstream"] == {
        "run": "run-1",
        "source": "images.0",
        "sequence": 3,
        "fragment": ((0, 2),),
    }
    assert event.origin is None
    start = read(with_origin(Start({"a": 1}), sequence=-1))
    assert start.data == {"a": 1, "upstream": {"run": "run-1", "source": "images.0"}}


def test_users_types_are_read_back_by_a_parser_that_knows_them():
    peak = Peak((1.0, 2.0), b"\x01")
    pattern = Pattern({"a": 1}, np.arange(2.0).data.cast("B"), "<f8", (2,), wavelength=1.54)
    assert read(peak, [Peak, Pattern]) == peak
    assert read(pattern, [Peak, Pattern]) == pattern
    with pytest.raises(DecodeError, match="'Peak' is unknown here; known are Start, Event, Stop"):
        read(peak)
    with pytest.raises(DecodeError, match="without 'position'"):
        OutwardParser([Peak]).parse([b'{"type": "Peak"}'])
    with pytest.raises(DecodeError, match=r"Peak\.position: "):
        OutwardParser([Peak]).parse([b'{"type": "Peak", "data": {"position": "x"}}'])


@pytest.mark.parametrize(
    "frames",
    [
        [b'{"type": "Event", "metadata": {"n": 1}}', b"abc"],
        [b"", b'{"type": "Event", "metadata": {"n": 1}}', b"abc"],
        [b"topic", b'{"type": "Event", "metadata": {"n": 1}}', b"abc"],
        [b"{odd topic", b'{"type": "Event", "metadata": {"n": 1}}', b"abc"],
        [msgspec.msgpack.encode([b'{"type": "Event", "metadata": {"n": 1}}', b"abc"])],
        [b"channel", msgspec.msgpack.encode([b'{"type":"Event","metadata":{"n":1}}', b"abc"])],
        [memoryview(b' \n{"type": "Event", "metadata": {"n": 1}}'), memoryview(b"abc")],
    ],
)
def test_a_message_is_understood_with_and_without_topic_and_packed(frames):
    assert OutwardParser().parse(frames) == Event({"n": 1}, b"abc")


@pytest.mark.parametrize("frames", [[b'{"type":"Event"}'], [b"topic", b'{"type":"Event"}']])
def test_a_header_alone_is_a_message(frames):
    assert OutwardParser().parse(frames) == Event()


def test_unknown_keys_are_ignored_so_that_versions_can_meet():
    frames = [b'{"type": "Start", "data": {"a": 1}, "later": 2}']
    assert OutwardParser().parse(frames) == Start({"a": 1})


@pytest.mark.parametrize("frames", HOSTILE_OUTWARD.values(), ids=HOSTILE_OUTWARD.keys())
def test_hostile_frames_are_refused_in_a_sentence(frames):
    with pytest.raises(DecodeError) as caught:
        OutwardParser().parse(frames)
    assert 10 < len(str(caught.value)) < 400


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_frames_are_read_or_refused(frames):
    with contextlib.suppress(DecodeError):
        assert isinstance(OutwardParser().parse(frames), Message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
array_types = st.sampled_from(["<u2", "|u1", ">f8", "|O", "|V3", "<M8[s]", "<U1", "f4", ""])


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Start", "Event", "Stop"])},
        optional={
            "run": st.text(max_size=3),
            "sequence": json_values,
            "metadata": json_values,
            "data": json_values,
            "dtype": array_types | json_values,
            "shape": st.lists(st.integers(-1, 4) | st.integers(), max_size=4) | json_values,
        },
    ),
    st.integers(0, 16),
)
def test_what_gets_through_can_travel_and_its_array_can_be_had(header, payload_bytes):
    frames = [json.dumps(header).encode(), bytes(payload_bytes)]
    try:
        message = OutwardParser().parse(frames)
    except DecodeError:
        return
    msgspec.msgpack.encode(message)
    if isinstance(message, Event) and message.dtype:
        assert (
            message.array.nbytes
            == payload_bytes
            == math.prod(message.shape) * (message.array.itemsize)
        )
