"""What `arroyo tap` says of messages."""

import json
import math

import msgspec
import numpy as np
import pytest
from batches import make_batch

from arroyo import Event, Message, Start
from arroyo.codec import Kind, MessageCodec
from arroyo.supervision.live.tapped_message import LINE_CHARACTERS, describe, line_of, summarise

ALONE = make_batch(ranges=((3, 4),), source="images.0", attempt=1)


class Reading(Message):
    """A message type of one's own."""

    index: int


class Frame(Event):
    """An event with a field of its own."""

    exposure_s: float = 0.1


CODEC = MessageCodec([Reading, Frame])


def told(message, header=ALONE):
    return describe(header, CODEC.pack(message), b"", 0)


def summary(array):
    array = np.asarray(array)
    return summarise(array.tobytes(), array.dtype.str, list(array.shape))


def test_an_event_is_told_with_its_origin_and_metadata():
    fields = told(Event({"index": 3}, b"abc"))
    assert fields == {
        "kind": "Event",
        "key": "images.0/run/3",
        "run": "run",
        "source": "images.0",
        "epoch": 1,
        "sequence": 3,
        "path": 0,
        "fragment": (),
        "attempt": 1,
        "metadata": {"index": 3},
        "payload_bytes": 3,
    }
    assert line_of(fields) == 'Event  images.0/run/3  (sent again)  3 B  {"index": 3}'


def test_an_array_beside_its_message_is_told_with_its_statistics():
    array = np.arange(6000, dtype="f4").reshape(100, 60)
    message = CODEC.pack(Event({}, b"", "<f4", (100, 60)))
    fields = describe(ALONE, message, array.tobytes(), array.nbytes)
    assert (fields["dtype"], fields["shape"], fields["payload_bytes"]) == ("<f4", [100, 60], 24000)
    assert {"min": 0.0, "max": 5999.0, "mean": 2999.5, "nan": 0}.items() <= fields.items()
    assert "float32 100x60  min 0  max 5999  mean 2999.5  24,000 B" in line_of(fields)


def test_of_a_payload_that_was_not_copied_the_size_is_told():
    fields = describe(ALONE, CODEC.pack(Event({}, b"", "<f4", (1 << 30,))), b"", 1 << 32)
    assert "min" not in fields
    assert "float32 1073741824  4,294,967,296 B" in line_of(fields)


def test_a_start_is_told_with_its_data():
    header = make_batch(kind=Kind.START, ranges=((0, 1),), base=1, source="images.0")
    fields = told(Start({"sample": "Si"}), header)
    assert (fields["kind"], fields["key"], fields["sequence"]) == (
        "Start",
        "images.0/run/start",
        -1,
    )
    assert line_of(fields) == 'Start  images.0/run/start  {"sample": "Si"}'


def test_messages_of_ones_own_are_told_without_their_classes():
    assert told(Reading(7))["fields"] == [7]
    fields = told(Frame({"index": 1}, exposure_s=0.5))
    assert (fields["kind"], fields["metadata"], fields["fields"]) == ("Frame", {"index": 1}, [0.5])


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\x91\xff", b"\x90"])
def test_what_is_no_message_is_told_as_such(message):
    fields = describe(ALONE, message, b"", 0)
    assert fields["bytes"] == len(message)
    assert line_of(fields)


def test_values_that_json_lacks_are_told_in_words():
    odd = {"raw": b"\x00", "ext": msgspec.msgpack.Ext(5, b"x"), "nan": math.nan}
    fields = told(Event(odd))
    assert fields["metadata"]["raw"] == "AA=="
    assert "Ext" in fields["metadata"]["ext"]
    assert fields["metadata"]["nan"] is None


def test_a_line_is_one_line_and_not_too_long():
    fields = told(Event({"note": "\x1b[2J\n\x9b" + "x" * 1000}))
    assert line_of(fields).isprintable()
    assert len(line_of(fields)) < LINE_CHARACTERS + 60
    assert "µm" in line_of(told(Event({"unit": "µm"})))


def test_statistics_leave_out_what_is_no_number():
    array = np.arange(100.0)
    array[[5, 7]] = math.nan
    found = summary(array)
    assert found == {"min": 0.0, "max": 99.0, "mean": pytest.approx(np.nanmean(array)), "nan": 2}
    assert "nan 2" in line_of(told(Event.from_array(array)))


def test_an_array_of_nothing_but_nan_has_no_statistics():
    assert summary(np.full(20, math.nan)) == {"min": None, "max": None, "mean": None, "nan": 20}


def test_infinite_values_have_no_mean():
    assert summary([math.inf, -math.inf] * 20)["mean"] is None


@pytest.mark.parametrize("dtype", ["f2", "u1", "i8", "?"])
def test_sums_do_not_overflow(dtype):
    assert summary(np.ones(100_000, dtype))["mean"] == 1.0


@pytest.mark.parametrize("count", [3, 100])
def test_numbers_wider_than_those_of_python_are_told_as_such(count):
    array = np.arange(count, dtype="g")
    found = summarise(array.tobytes(), array.dtype.str, [count])
    assert found == summarise(array.astype("f8").tobytes(), "<f8", [count])
    assert json.loads(json.dumps(found)) == found


def test_small_arrays_are_told_whole():
    assert summary([[1, 2], [3, 4]]) == {"values": [[1, 2], [3, 4]]}
    assert summary([1.5, math.nan]) == {"values": [1.5, None]}
    assert summary(np.float64(2.5)) == {"values": 2.5}
    assert "<" not in line_of(told(Event.from_array(np.float64(2.5))))


@pytest.mark.parametrize(
    ("payload", "dtype", "shape"),
    [(b"abc", "<f4", [1]), (b"", "nonsense", [0]), (b"12345678", "<M8[s]", [1])],
)
def test_what_is_no_array_of_numbers_has_no_statistics(payload, dtype, shape):
    assert summarise(payload, dtype, shape) == {}
