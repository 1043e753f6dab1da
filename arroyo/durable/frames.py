"""Frames: the one format of all files that outlast a crash.

::

    file  = head frame*
    head  = 89 'ARR' | kind, 4 letters | format u16 | schema u16 | checksum u32     big-endian
    frame = length u32 | checksum u32 | body, msgpack

A checksum is the crc32 of the body, or of the rest of the head. It does not start at 0, and that of
a frame starts at a number that depends on the length. Otherwise eight zeros, an ordinary tail after
a power cut, would be a frame, since the crc32 of nothing is 0. The head has a checksum so that half
a head is not taken for that of another version.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from arroyo.errors import ConfigurationError

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""Errors of decoding bytes that are not ours."""

FORMAT = 1
"""Version of head and frames. Each kind of file has a version of its bodies, the schema."""

_MAGIC = b"\x89ARR"
_HEAD = struct.Struct(">4s4sHH")
_FRAME = struct.Struct(">II")
_SEED = 0x41525259
_pack = _FRAME.pack
_crc32 = zlib.crc32

HEAD_BYTES = _HEAD.size + 4
FRAME_BYTES = _FRAME.size
"""Bytes that a frame takes besides its body."""


class FileKind(NamedTuple):
    """FileKind of a file: four letters, and the version of its bodies."""

    letters: bytes
    schema: int

    @property
    def head(self) -> bytes:
        """First bytes of each file of this kind."""
        return _pack_head(self.letters, FORMAT, self.schema)


class Frames(NamedTuple):
    """The whole frames of a file, from the first on."""

    bodies: list[bytes]
    damaged: bool
    """Whether a broken frame follows; the death of a writer leaves only a part of one."""


def _pack_head(letters: bytes, form: int, schema: int) -> bytes:
    fields = _HEAD.pack(_MAGIC, letters, form, schema)
    return fields + _crc32(fields, _SEED).to_bytes(4)


def pack_frame(body: bytes) -> bytes:
    """Return a frame of `body`."""
    length = len(body)
    return _pack(length, _crc32(body, _SEED ^ length)) + body


def unpack_file(content: bytes, kind: FileKind, path: Path) -> Frames:
    """Return the frames of a file; one that begins with another head is damaged, and has none.

    The first frame that is not whole ends the file: its writer died within it, or found the disk
    full, and had not acted on it.

    ConfigurationError: it was written by another version of Arroyo.
    """
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
    """Return the body of the first frame; None where it is not whole."""
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
