"""Frames as files had them before there was `frames`: no head, and a checksum of the body alone."""

from __future__ import annotations

import struct
import zlib

_HEAD = struct.Struct(">II")


def unpack_frames(content: bytes) -> list[bytes]:
    """Return the bodies of the whole frames in a file's content; none of an empty body."""
    bodies = []
    at = 0
    while at + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        body = content[at : at + length]
        # Zeros, as after a power cut, would be frames with nothing in them.
        if not body or zlib.crc32(body) != checksum:
            break
        bodies.append(body)
        at += length
    return bodies
