"""`MessageFrames`: messages to a RabbitMQ server, byte for byte as pika writes them. PURE.

pika makes five objects of each message, encodes their fields one by one and sends each frame by
itself, which would cost a publisher more than all the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pika

from .client import HEADER

CALL_BYTES = 64 * 1024
"""Frames are joined up to here: what the system doesn't take in one call is copied again."""
PERSISTENT: int = pika.DeliveryMode.Persistent.value

_END = bytes((pika.spec.FRAME_END,))
_OVERHEAD_BYTES = pika.spec.FRAME_HEADER_SIZE + pika.spec.FRAME_END_SIZE
_FLAGS = sum(
    getattr(pika.BasicProperties, f"FLAG_{name}")
    for name in ("HEADERS", "DELIVERY_MODE", "MESSAGE_ID")
)
_TEXT = bytes((len(HEADER),)) + HEADER.encode() + b"S"
"""Name and type of the entry of the headers that is the outward header."""

_pack_begin = struct.Struct(">HI").pack
_pack_length = struct.Struct(">I").pack
_pack_frame = struct.Struct(">BHI").pack
_pack_content = struct.Struct(">BHIHHQ").pack
_CONTENT_BYTES = 12


def write_properties(header: bytes, message_id: str) -> bytes:
    """Encode the properties of a persistent message, with an id of at most 255 bytes."""
    name = message_id.encode()
    size = len(header)
    return b"".join(
        (
            _pack_begin(_FLAGS, len(_TEXT) + 4 + size),
            _TEXT,
            _pack_length(size),
            header,
            bytes((PERSISTENT, len(name))),
            name,
        )
    )


class MessageFrames:
    """Makes the frames of messages that one channel publishes.

    Parameters
    ----------
    channel
        Its number.
    frame_bytes
        Maximum size of a frame.
    exchange, routing_key, mandatory
        The same for all messages.
    """

    def __init__(
        self, channel: int, frame_bytes: int, exchange: str, routing_key: str, *, mandatory: bool
    ) -> None:
        method = pika.spec.Basic.Publish(
            exchange=exchange, routing_key=routing_key, mandatory=mandatory
        )
        self._method: bytes = pika.frame.Method(channel, method).marshal()
        self._channel = channel
        self._part_bytes = frame_bytes - _OVERHEAD_BYTES

    def write(self, properties: bytes, body: bytes) -> Iterable[bytes]:
        """Yield the frames of one message, the first two of them as one piece."""
        channel, size = self._channel, len(body)
        content = _pack_content(
            pika.spec.FRAME_HEADER,
            channel,
            _CONTENT_BYTES + len(properties),
            pika.spec.Basic.INDEX,
            0,
            size,
        )
        yield b"".join((self._method, content, properties, _END))
        for first in range(0, size, self._part_bytes):
            part = memoryview(body)[first : first + self._part_bytes]
            yield b"".join((_pack_frame(pika.spec.FRAME_BODY, channel, len(part)), part, _END))


def joined(frames: Iterable[bytes]) -> list[bytes]:
    """Return the frames joined to parts of `CALL_BYTES` or a little more."""
    parts: list[bytes] = []
    pieces: list[bytes] = []
    size = 0
    for frame in frames:
        pieces.append(frame)
        size += len(frame)
        if size >= CALL_BYTES:
            parts.append(b"".join(pieces))
            pieces, size = [], 0
    if pieces:
        parts.append(b"".join(pieces))
    return parts
