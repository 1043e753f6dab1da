"""`Unreadable`: one message of a body that can't be decoded, kept as it came. PURE."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from arroyo.errors import DecodeError

_PAYLOAD_AT = 2
"""An Event's payload stands behind its tag and its metadata."""

_fields_of = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_untyped = msgspec.msgpack.Decoder().decode


class Unreadable(NamedTuple):
    """Stands in the place of a message that can't be decoded.

    Attributes
    ----------
    packed
        The message in one piece, as `MessageCodec.pack` makes it.
    error
        What is wrong with it.
    """

    packed: bytes
    error: DecodeError

    @property
    def type(self) -> str:
        """Name of the message's class as its sender knew it; empty where it has none."""
        tag = _read(lambda: _untyped(_fields_of(self.packed)[0]))
        return tag if isinstance(tag, str) else ""

    @property
    def data(self) -> dict[str, Any]:
        """Of a Start or Stop: its data, as far as that can be read without its class."""
        data = _read(lambda: _untyped(_fields_of(self.packed)[1]))
        return data if isinstance(data, dict) and all(isinstance(key, str) for key in data) else {}


def in_one_piece(body: bytes, payload: Any) -> bytes:
    """Return a message that travelled in two pieces as one."""
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
