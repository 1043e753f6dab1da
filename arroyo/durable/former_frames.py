"""Frames as files had them before there was `frames`: no head, and a checksum of the body alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_HEAD = struct.Struct(">II")


def pack_frame(body: bytes) -> bytes:
    """Return a frame of `body` as it was."""
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def unpack_frames(content: bytes) -> Iterator[bytes]:
    """Yield the bodies of the whole frames in a file's content; none of an empty body."""
    at = 0
    while at + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        body = content[at : at + length]
        # Zeros, as after a power cut, would be frames with nothing in them.
        if not body or len(body) < length or zlib.crc32(body) != checksum:
            return
        yield body
        at += length
