"""Payloads as bytes that can be sent."""

import numpy as np
import pytest

from arroyo.codec._payloads import freeze, payload_bytes, without_gaps
from arroyo.errors import EncodeError
from arroyo.messages import Event


def gaps(count=8):
    return memoryview(bytes(range(2 * count)))[::2]


@pytest.mark.parametrize(
    ("payload", "size"),
    [(b"abc", 3), (bytearray(5), 5), (gaps(), 8), (np.zeros((2, 3), "f4").data, 24), (b"", 0)],
)
def test_the_size_of_a_payload_is_its_bytes(payload, size):
    assert payload_bytes(Event({}, payload)) == size


@pytest.mark.parametrize("payload", ["text", 5, None, [1]])
def test_what_is_no_buffer_is_refused_with_its_class(payload):
    words = f"an Event can't be sent: payload is .*, a {type(payload).__name__}: expected bytes"
    with pytest.raises(EncodeError, match=words):
        payload_bytes(Event({}, payload))


def test_a_payload_without_gaps_is_left_as_it_is():
    for payload in (b"abc", bytearray(3), memoryview(b"abc")):
        event = Event({}, payload)
        assert without_gaps(event) is event


def test_a_payload_with_gaps_is_copied():
    event = Event({"n": 1}, gaps())
    copied = without_gaps(event)
    assert copied.payload == gaps().tobytes()
    assert copied.metadata is event.metadata
    assert event.payload == gaps()


def test_what_can_not_change_is_not_copied():
    payload = bytes(range(8))
    assert freeze(payload) is payload
    view = memoryview(payload)
    for each in (view, view.cast("H"), view.cast("B", (2, 4))):
        flat = freeze(each)
        assert (flat.format, flat.ndim, flat.obj) == ("B", 1, payload)


@pytest.mark.parametrize("make", [bytearray, lambda data: memoryview(bytearray(data))])
def test_what_may_be_written_again_is_copied(make):
    buffer = make(b"before")
    frozen = freeze(buffer)
    buffer[:] = b"behind"
    assert frozen == b"before"


def test_what_has_gaps_is_copied():
    assert freeze(gaps()) == gaps().tobytes()
