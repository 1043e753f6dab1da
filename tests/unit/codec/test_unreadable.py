"""A message that can't be decoded: what can be known of it, and that nothing of it gets lost."""

import msgspec
import pytest

from arroyo.codec import Unreadable
from arroyo.codec._unreadable import in_one_piece
from arroyo.errors import DecodeError
from arroyo.messages import Event, Start

encode = msgspec.msgpack.encode
ERROR = DecodeError("no")


def test_a_message_of_an_unknown_class_still_tells_its_name_and_data():
    found = Unreadable(encode(["Sample", {"energy": 10}, "gold"]), ERROR)
    assert (found.type, found.data) == ("Sample", {"energy": 10})


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        encode([]),
        encode({"Start": 1}),
        encode([5, [1, 2]]),
        encode([None, {1: 2}]),
        b"\x92\xa2\xff\xfe\x81\xa1\xff\x01",
        b"\x92\xa1S" + b"\x91" * 3000 + b"\x90",
    ],
    ids=[
        "nothing",
        "no msgpack",
        "no fields",
        "no list",
        "numbers",
        "keys that are numbers",
        "broken text",
        "too deep",
    ],
)
def test_what_says_neither_is_asked_in_vain(packed):
    found = Unreadable(packed, ERROR)
    assert found.type in {"", "S"}
    assert found.data == {}


def test_two_pieces_become_the_message_that_they_were():
    sent = Event({"n": 1}, bytes(20_000), "<u2", (100, 100))
    body = encode(msgspec.structs.replace(sent, payload=b""))
    packed = in_one_piece(body, memoryview(sent.payload))
    assert msgspec.msgpack.decode(packed, type=Event) == sent


@pytest.mark.parametrize("body", [b"\xc1", encode([]), encode(Start({}))])
def test_a_body_without_room_for_a_payload_is_kept_as_it_came(body):
    assert in_one_piece(body, b"payload") == body
