from __future__ import annotations

import contextlib
import json
import logging
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.connectors import _parsing
from arroyo.connectors._parsing import RawParser, TolerantParser, check_texts, make_parser
from arroyo.connectors.outward import OutwardParser, write_outward
from arroyo.errors import ConfigurationError, DecodeError, EncodeError
from arroyo.messages import Event, Message, Origin, Start, Stop
from arroyo.stages import MessageParser


class Peak(Message):
    position: tuple[float, float]
    mask: bytes = b""


class Pattern(Event):
    wavelength: float = 0.0


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return self.now_s


class StrictJSON(MessageParser):
    """As a user would write one, without a thought of broken input."""

    def parse(self, frames):
        return Event({"value": json.loads(bytes(frames[0]))["value"] + 0})


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


def array_frames(dtype, shape, payload=b""):
    return [json.dumps({"type": "Event", "dtype": dtype, "shape": shape}).encode(), payload]


HOSTILE = {
    "no frames": [],
    "too many frames": [b"a", b"{}", b"b", b"c"],
    "an empty frame": [b""],
    "not JSON": [b"\x80\x04\x95pickle"],
    "a topic and no JSON": [b"topic", b"payload"],
    "half of a header": [b'{"type": "Event"'],
    "text after the header": [b'{"type": "Event"} {}'],
    "no UTF-8": [b'{"type": "\xff"}'],
    "half of a surrogate": [b'{"type": "\\ud800"}'],
    "no type": [b"{}", b""],
    "a type that is a number": [b'{"type": 1}'],
    "a type that is unknown": [b'{"type": "os.system"}'],
    "a very long type": [b'{"type": "' + b"x" * 100_000 + b'"}'],
    "a list for a header": [b"topic", b'[{"type": "Event"}]', b""],
    "metadata that are a list": [b'{"type": "Event", "metadata": []}'],
    "data that are text": [b'{"type": "Start", "data": "x"}'],
    "a sequence that is text": [b'{"type": "Event", "sequence": "1"}'],
    "a fragment of one number": [b'{"type": "Event", "fragment": [[1]]}'],
    "an infinite number": [b'{"type": "Event", "metadata": {"a": 1e999}}'],
    "NaN": [b'{"type": "Event", "metadata": {"a": NaN}}'],
    "an integer of 100 digits": [b'{"type": "Event", "metadata": {"a": ' + b"9" * 100 + b"}}"],
    "a sequence of 100 digits": [b'{"type": "Event", "sequence": ' + b"9" * 100 + b"}"],
    "nesting without end": [b'{"type": "Event", "metadata": {"a": ' + b"[" * 100_000],
    "deep nesting": [b'{"type":"Event","metadata":{"a":' + b"[" * 200 + b"]" * 200 + b"}}"],
    "deep objects": [b'{"type":"Start","data":' + b'{"a":' * 99 + b"1" + b"}" * 99 + b"}"],
    "a Start with a payload": [b'{"type": "Start"}', b"abc"],
    "a dtype without shape": [b'{"type": "Event", "dtype": "<u2"}', b"ab"],
    "a shape without dtype": [b'{"type": "Event", "shape": [2]}', b"ab"],
    "a payload too short": array_frames("<u2", [2, 2], b"\0" * 7),
    "a payload too long": array_frames("<u2", [2, 2], b"\0" * 9),
    "a negative length": array_frames("<u2", [-1, 2], b"\0" * 4),
    "two negative lengths": array_frames("<u2", [-1, -2], b"\0" * 4),
    "a length that is not whole": array_frames("<u2", [1.5], b"\0" * 3),
    "a length that is true": array_frames("|u1", [True], b"\0"),
    "an overflowing shape": array_frames("<u2", [2**62, 2**62, 0]),
    "a huge length": array_frames("<u2", [10**30, 0]),
    "too many axes": array_frames("|u1", [1] * 65, b"\0"),
    "objects": array_frames("|O", [1], b"\0" * 8),
    "a sized object": array_frames("|O8", [1], b"\0" * 8),
    "fields": array_frames("[('a', '<u2')]", [1], b"\0\0"),
    "a list of types": array_frames("<u2,<u2", [1], b"\0" * 4),
    "an empty dtype": array_frames("", [3], b"abc"),
    "no byte order": array_frames("uint16", [1], b"\0\0"),
    "an item size that numpy lacks": array_frames("<f3", [1], b"\0" * 3),
    "items of nothing": array_frames("|V0", [5]),
    "digits of another script": array_frames("|S٣", [1], b"abc"),
    "msgpack of one item": [msgspec.msgpack.encode([b'{"type": "Event"}'])],
    "msgpack of three items": [msgspec.msgpack.encode([b"{}", b"", b""])],
    "msgpack of texts": [msgspec.msgpack.encode(['{"type": "Event"}', 1])],
    "msgpack that lies about its size": [b"\x92\xc6\xff\xff\xff\xff"],
    "msgpack of a broken header": [msgspec.msgpack.encode([b"{", b""])],
}


@pytest.mark.parametrize("frames", HOSTILE.values(), ids=HOSTILE.keys())
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


# Other parsers


def test_raw_takes_the_last_frame_and_keeps_the_others():
    assert RawParser().parse([b"abc"]) == Event({}, b"abc")
    assert RawParser().parse([b"head", b"\xff", b"abc"]) == Event(
        {"frames": [b"head", b"\xff"]}, b"abc"
    )
    with pytest.raises(DecodeError):
        RawParser().parse([])


def test_raw_names_the_topic_where_the_transport_has_one():
    parser = RawParser(has_topic=True)
    assert parser.parse([b"abc"]) == Event({}, b"abc")
    assert parser.parse([b"det\xff", b"abc"]) == Event({"topic": "det\\xff"}, b"abc")
    assert parser.parse([b"det", b"head", b"abc"]) == Event(
        {"topic": "det", "frames": [b"head"]}, b"abc"
    )


def test_parsers_are_chosen_by_word_by_name_or_as_they_are():
    own = StrictJSON()
    assert make_parser(own) is own
    assert isinstance(make_parser(), OutwardParser)
    assert isinstance(make_parser("arroyo"), OutwardParser)
    assert make_parser("raw", has_topic=True).parse([b"t", b""]).metadata == {"topic": "t"}
    assert isinstance(make_parser("arroyo.connectors.outward:OutwardParser"), OutwardParser)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("arroio", 'write "arroyo", "raw" or "module:Class"'),
        (3, "3 is unknown"),
        ("no_such_module:Parser", "No module named 'no_such_module'"),
        ("json:Parser", "'json' has no attribute 'Parser'"),
        ("json:JSONDecoder", "gives a JSONDecoder, expected an arroyo.MessageParser"),
        ("a b:c", "can't be loaded"),
    ],
)
def test_a_parser_that_does_not_exist_is_a_configuration_error(spec, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        make_parser(spec)


def test_a_single_text_is_not_taken_for_a_list_of_letters():
    assert check_texts("X", "topics", ["a", "b"]) == ("a", "b")
    for wrong in ("ab", [1]):
        with pytest.raises(ConfigurationError, match=r"X: topics = .* should be a list"):
            check_texts("X", "topics", wrong)


@pytest.mark.parametrize("frame", [b"{", b"{}", b"[1]", b'{"value": null}', b"3", b"\xff"])
def test_what_a_users_parser_raises_on_broken_input_is_counted(frame):
    parser = TolerantParser(StrictJSON(), FakeClock())
    assert parser.parse([frame]) is None
    assert parser.parse([]) is None
    assert parser.parse([b'{"value": 4}']) == Event({"value": 4})
    assert parser.rejected == 2


def test_a_flood_of_broken_messages_is_logged_once_per_interval(caplog):
    clock = FakeClock()
    parser = TolerantParser(OutwardParser(), clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            parser.parse([b"?"])
        assert len(caplog.records) == 1
        clock.now_s += _parsing.LOG_INTERVAL_S
        parser.parse([b"?"])
    assert [record.args[0] for record in caplog.records] == [1, 1000]
    assert parser.rejected == 1001
