"""`DeliveryReader`: messages of a RabbitMQ server, read from the bytes as they came. PURE.

pika makes six objects of each message, and looks up callbacks for each of its frames, which would
cost a listener twice as much as all the rest. This reads what nearly all deliveries are: small
enough for one frame, to a consumer that goes on. Whatever else comes is pika's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import pika
import pika.exceptions

from arroyo.stages import Frame

from .client import HEADER

_DELIVER = struct.pack(">I", pika.spec.Basic.Deliver.INDEX)
_FRAME_BYTES = pika.spec.FRAME_HEADER_SIZE
_TEXT = bytes((len(HEADER),)) + HEADER.encode() + b"S"
"""Name and type of the entry of the headers that is the outward header."""
_HEADERS, _MODE, _ID = (
    getattr(pika.BasicProperties, f"FLAG_{name}")
    for name in ("HEADERS", "DELIVERY_MODE", "MESSAGE_ID")
)

# What pika raises on headers that the server took: a number that is none, a date beyond all
# calendars, tables nested without end.
_UNDECODABLE = (
    pika.exceptions.InvalidFieldTypeException,
    ArithmeticError,
    LookupError,
    OSError,
    RecursionError,
    ValueError,
    struct.error,
)

_read_frame = struct.Struct(">BHI").unpack_from
_read_tag = struct.Struct(">QBB").unpack_from
_read_size = struct.Struct(">QH").unpack_from
_read_table = struct.Struct(">I").unpack_from


class Take(Protocol):
    """Takes a message."""

    def __call__(
        self, tag: int, redelivered: bool, message_id: str | None, frames: list[Frame], /
    ) -> None:
        """`frames`: routing key, outward header if there is one, body."""


class DeliveryReader:
    """Reads deliveries of one channel.

    Parameters
    ----------
    channel
        Its number.
    frame_bytes
        Maximum size of a frame.
    """

    def __init__(self, channel: int, frame_bytes: int) -> None:
        self._channel = channel
        self._begin = struct.pack(">BH", pika.spec.FRAME_METHOD, channel)
        self._part_bytes = frame_bytes - _FRAME_BYTES - 1
        self.consumers: dict[bytes, Take] = {}
        """Who takes what is delivered to each consumer; of others, pika takes care."""

    def read(self, data: bytes) -> tuple[int, bool]:
        """Have all deliveries taken that `data` begins with.

        Returns how many bytes they had, and whether another one begins there, and goes on in what
        is still to come.
        """
        done, size = 0, len(data)
        while done < size and self._is_delivery(data, done):
            try:
                end = self._read_delivery(data, done)
            except (struct.error, IndexError):  # the bytes end in front of its body
                return done, True
            if end == done:
                break
            if end > size:
                return done, True
            done = end
        return done, False

    def _is_delivery(self, data: bytes, begin: int) -> bool:
        place = begin + _FRAME_BYTES
        return data[begin : begin + 3] == self._begin and data[place : place + 4] == _DELIVER

    def _read_delivery(self, data: bytes, begin: int) -> int:
        """Have a delivery taken if it is whole; return where it ends, `begin` if it is pika's."""
        _, channel, length = _read_frame(data, begin)
        header_at = begin + _FRAME_BYTES + length + 1
        place = begin + _FRAME_BYTES + 5
        consumer = data[place : place + data[place - 1]]
        place += len(consumer)
        tag, redelivered, length = _read_tag(data, place)
        place += 11 + length
        routing_key = data[place : place + data[place - 1]]

        kind, _, length = _read_frame(data, header_at)
        place = header_at + _FRAME_BYTES
        body_size, flags = _read_size(data, place + 4)
        body_at = place + length + 1
        end: int = body_at + (_FRAME_BYTES + body_size + 1 if body_size else 0)
        take = self.consumers.get(consumer)
        if take is None or kind != pika.spec.FRAME_HEADER or body_size > self._part_bytes:
            return begin
        if end > len(data):
            return end
        if body_size and _read_frame(data, body_at) != (pika.spec.FRAME_BODY, channel, body_size):
            return begin
        if not data[header_at - 1] == data[body_at - 1] == data[end - 1] == pika.spec.FRAME_END:
            return begin
        header, message_id = _read_properties(data[place + 12 : body_at - 1], flags)
        body = data[body_at + _FRAME_BYTES : end - 1] if body_size else b""
        named: list[Frame] = [routing_key] if header is None else [routing_key, header]
        take(tag, bool(redelivered), message_id, [*named, body])
        return end


def _read_properties(properties: bytes, flags: int) -> tuple[bytes | None, str | None]:
    """Return outward header and message id."""
    if flags & _HEADERS and not flags & ~(_HEADERS | _MODE | _ID):
        (table,) = _read_table(properties, 2)
        place = 6 + len(_TEXT)
        if properties[6:place] == _TEXT:
            (length,) = _read_table(properties, place)
            place += 4
            if table == len(_TEXT) + 4 + length:  # nothing but that
                header = properties[place : place + length]
                place += length + (1 if flags & _MODE else 0)
                return header, _as_text(properties[place + 1 :]) if flags & _ID else None
    found = _decode(properties)
    return _header_of(found), _as_text(found.message_id)


def _decode(properties: bytes) -> pika.BasicProperties:
    """Return what pika can decode; what it can't, and what is behind that, is left out."""
    found = pika.BasicProperties()
    with suppress(*_UNDECODABLE):
        found.decode(properties)
    return found


def read_frame(data: bytes) -> tuple[int, Any]:
    """Read a frame as pika does, but take a message whose headers pika can't decode, without them.

    pika would end the connection, which would bring the message again, for ever.
    """
    try:
        found: tuple[int, Any] = pika.frame.decode_frame(data)
    except _UNDECODABLE:
        kind, channel, length = _read_frame(data, 0)
        if kind != pika.spec.FRAME_HEADER:
            raise
        end = _FRAME_BYTES + length
        body_size, _ = _read_size(data, _FRAME_BYTES + 4)
        properties = _decode(data[_FRAME_BYTES + 12 : end])
        return end + 1, pika.frame.Header(channel, body_size, properties)
    return found


def _header_of(properties: pika.BasicProperties) -> bytes | None:
    header = (properties.headers or {}).get(HEADER)
    return _as_bytes(header) if isinstance(header, str | bytes) else None


def _as_bytes(text: str | bytes) -> bytes:
    """Return what pika gives as bytes where it is no UTF-8."""
    return text if isinstance(text, bytes) else text.encode()


def _as_text(name: str | bytes | None) -> str | None:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def pass_to(take: Take) -> Callable[[Any, Any, Any, bytes], None]:
    """Return what pika can call with a delivery, and what has `take` take it."""

    def on_message(_: Any, method: Any, properties: Any, body: bytes) -> None:
        header = _header_of(properties)
        place = _as_bytes(method.routing_key)
        frames: list[Frame] = [place, body] if header is None else [place, header, body]
        take(method.delivery_tag, method.redelivered, _as_text(properties.message_id), frames)

    return on_message
