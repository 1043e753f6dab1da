"""`Unreadable`: a message that can't be decoded, kept as it came. PURE."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from arroyo.errors import DecodeError

_PAYLOAD_AT = 2
"""Index of an Event's payload, after its tag and its metadata."""

_fields_of = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_untyped = msgspec.msgpack.Decoder().decode


class Unreadable(NamedTuple):
    """Takes the place of a message that can't be decoded.

    Attributes
    ----------
    packed
        The message in one piece, as `MessageCodec.pack` makes it.
    """

    packed: bytes
    error: DecodeError

    @property
    def type(self) -> str:
        """Name of the message's class at its sender; empty if it can't be read."""
        tag = _read(lambda: _untyped(_fields_of(self.packed)[0]))
        return tag if isinstance(tag, str) else ""

    @property
    def data(self) -> dict[str, Any]:
        """Data of a Start or Stop; empty if it can't be read without the class."""
        data = _read(lambda: _untyped(_fields_of(self.packed)[1]))
        return data if isinstance(data, dict) and all(isinstance(key, str) for key in data) else {}


def in_one_piece(body: bytes, payload: Any) -> bytes:
    """Return a message of two pieces as one piece."""
    fields = _read(lambda: _fields_of(body))
    if fields is None or len(fields) <= _PAYLOAD_AT:
        return body
    fields[_PAYLOAD_AT] = msgspec.Raw(msgspec.msgpack.encode(payload))
    return msgspec.msgpack.encode(fields)


def _read(read: Any) -> Any:
    try:
        return read()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError):
        return None
