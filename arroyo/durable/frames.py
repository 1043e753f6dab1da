"""Frames: the one format of all files that have to outlast a crash.

::

    file  = head frame*
    head  = 89 'ARR' | kind, 4 letters | format u16 | schema u16 | checksum u32     big-endian
    frame = length u32 | checksum u32 | body, msgpack

A checksum is the crc32 of the body, or of the head before it. It doesn't start at 0, and that of a
frame at a number that its length is part of: the crc32 of nothing is 0, so eight zeros, an ordinary
end of a file after a power cut, would be a frame. Without a checksum in the head, half a head would
be taken for that of another version.

No file of the versions before this format begins with 89, so that it can't be taken for one.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from arroyo.errors import ConfigurationError

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What comes of decoding bytes that are none of ours."""

FORMAT = 1
"""Of head and frames; the schema, which each kind of file counts for itself, is of the bodies."""

_MAGIC = b"\x89ARR"
_HEAD = struct.Struct(">4s4sHH")
_FRAME = struct.Struct(">II")
_SEED = 0x41525259
_pack = _FRAME.pack
_crc32 = zlib.crc32

HEAD_BYTES = _HEAD.size + 4
FRAME_BYTES = _FRAME.size
"""What a frame takes besides its body."""


class Kind(NamedTuple):
    """What a file holds: four letters, and the version of its bodies."""

    letters: bytes
    schema: int

    @property
    def head(self) -> bytes:
        """What each file of this kind begins with."""
        return _pack_head(self.letters, FORMAT, self.schema)


class Frames(NamedTuple):
    """The whole frames of a file, from the first on."""

    bodies: list[bytes]
    damaged: bool
    """Whether they end at what no death of a writer leaves there: that leaves a part of a frame."""


def _pack_head(letters: bytes, form: int, schema: int) -> bytes:
    fields = _HEAD.pack(_MAGIC, letters, form, schema)
    return fields + _crc32(fields, _SEED).to_bytes(4)


def pack_frame(body: bytes) -> bytes:
    """Return a frame of `body`."""
    length = len(body)
    return _pack(length, _crc32(body, _SEED ^ length)) + body


def unpack_file(content: bytes, kind: Kind, path: Path) -> Frames | None:
    """Return the frames of a file; None where it was not written in this format.

    What follows the first frame that is not whole is left out: its writer died, or found the disk
    full, in the midst of it, and had not acted on it.

    Raises
    ------
    ConfigurationError
        It is of a version that this one doesn't know.
    """
    if content[: len(_MAGIC)] != _MAGIC:
        return None
    if len(content) < HEAD_BYTES:
        return Frames([], damaged=True)
    _, letters, form, schema = _HEAD.unpack_from(content)
    if letters != kind.letters or content[:HEAD_BYTES] != _pack_head(letters, form, schema):
        return Frames([], damaged=True)
    if (form, schema) != (FORMAT, kind.schema):
        raise ConfigurationError(
            f"{path} was written by another version of Arroyo: it has format {form}.{schema}, "
            f"expected {FORMAT}.{kind.schema}; run the chain with that version, or move the file "
            "away to begin without it"
        )
    return _unpack_frames(content, HEAD_BYTES)


def unpack_frame(content: bytes) -> bytes | None:
    """Return the body of the frame at the beginning; None where that isn't whole."""
    length, checksum = _FRAME.unpack_from(content)
    body = content[FRAME_BYTES : FRAME_BYTES + length]
    return body if _crc32(body, _SEED ^ length) == checksum else None


def _unpack_frames(content: bytes, at: int) -> Frames:
    bodies: list[bytes] = []
    while at + FRAME_BYTES <= len(content):
        length, checksum = _FRAME.unpack_from(content, at)
        at += FRAME_BYTES
        body = content[at : at + length]
        if len(body) < length:
            break
        if _crc32(body, _SEED ^ length) != checksum:
            return Frames(bodies, damaged=True)
        bodies.append(body)
        at += length
    return Frames(bodies, damaged=False)
