"""Clears the marks of a killed writer from an HDF5 file, so that it can be opened again.

A writer marks the superblock (the first 48 bytes) while it has the file open, and HDF5 refuses to
open a marked file for writing. A killed writer leaves the marks, and in SWMR mode also an "end of
file" that lags behind what it wrote: a second writer that believed it would overwrite live data.
This module corrects both, after the HDF5 File Format Specification 3.0, II.A. Nothing else needs
repair: SWMR writes in an order that keeps the file intact.

The caller makes sure that the writer is dead.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_LAYOUT = struct.Struct("<8sBBBBQQQQI")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_CHECKED_BYTES = _LAYOUT.size - 4
_WORD = 0xFFFFFFFF


def mend_superblock(block: bytes, file_bytes: int) -> bytes:
    """Return a superblock without a writer's marks, and with the file's size as its end of file.

    `block`: the first 48 bytes of the file.
    `file_bytes`: size of the file.

    ValueError: it is not a superblock of version 3 (as all SWMR files have), or its checksum is
    wrong.
    """
    if len(block) != _LAYOUT.size:
        raise ValueError(f"a superblock has {_LAYOUT.size} bytes, not {len(block)}")
    fields = _LAYOUT.unpack(block)
    signature, version, offset_bytes, length_bytes, _, base, extension, end, root, checksum = fields
    if (signature, version, offset_bytes, length_bytes) != (_SIGNATURE, 3, 8, 8):
        raise ValueError("not a superblock of version 3 with addresses of 8 bytes")
    if checksum != lookup3(block[:_CHECKED_BYTES]):
        raise ValueError("the superblock's checksum is wrong")
    end = max(end, file_bytes)
    mended = _LAYOUT.pack(signature, version, 8, 8, 0, base, extension, end, root, 0)
    return mended[:_CHECKED_BYTES] + struct.pack("<I", lookup3(mended[:_CHECKED_BYTES]))


def clear_marks(path: Path) -> None:
    """Let HDF5 open a file that a killed SWMR writer left behind; other files stay as they are."""
    with path.open("r+b", buffering=0) as file:
        block = file.read(_LAYOUT.size)
        try:
            mended = mend_superblock(block, os.fstat(file.fileno()).st_size)
        except ValueError:
            return
        # A single write of 48 bytes: a kill leaves the old superblock or the new one.
        if mended != block:
            os.pwrite(file.fileno(), mended, 0)


def lookup3(data: bytes) -> int:
    """Return HDF5's checksum of metadata: Bob Jenkins' lookup3 hash, 32 bits, start value 0.

    ValueError: the length is not a positive multiple of 4, as a superblock's is.
    """
    if not data or len(data) % 4:
        raise ValueError(f"{len(data)} bytes are not a positive multiple of 4")
    words: list[int] = list(struct.unpack(f"<{len(data) // 4}I", data))
    a = b = c = (0xDEADBEEF + len(data)) & _WORD
    while len(words) > 3:
        a, b, c = (x + word & _WORD for x, word in zip((a, b, c), words, strict=False))
        del words[:3]
        for bits in (4, 6, 8, 16, 19, 4):
            a, c = (a - c & _WORD) ^ _rotate(c, bits), c + b & _WORD
            a, b, c = b, c, a
    words += [0] * (3 - len(words))
    a, b, c = (x + word & _WORD for x, word in zip((a, b, c), words, strict=True))
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - _rotate(b, bits) & _WORD
        a, b, c = b, c, a
    # Seven turns have moved the last result from the third place to the second.
    return b


def _rotate(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & _WORD
