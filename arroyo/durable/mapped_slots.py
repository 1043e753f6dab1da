"""`MappedSlots`: a file with a few slots of a fixed size, for values that are written often.

A value is written in place, in mapped memory that outlives the process. That takes no system call,
and can't meet a full disk once the file was made. Only `sync` forces it to the disk.

A death while writing leaves the slot empty, so a value that always has to be there needs two
slots, written in turn. After a power cut a slot holds its value, an earlier one, or none.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import msgspec

from .frames import HEAD_BYTES, FileKind, pack_frame, unpack_file, unpack_frame
from .replaced_file import replace_file, sync_folder

_SECTOR_BYTES = 512
"""Disks write a sector whole; the head has one for itself."""
_encode = msgspec.msgpack.Encoder().encode


class MappedSlots:
    """The slots of one file, for this user alone, with one writer.

    OSError: it can't be made or opened.
    ConfigurationError: it was written by another version of Arroyo.
    """

    def __init__(self, path: Path, kind: FileKind, count: int, slot_bytes: int) -> None:
        self._path, self._slot_bytes = path, slot_bytes
        size = _SECTOR_BYTES + count * slot_bytes
        if not _is_whole(path, kind, size):
            replace_file(path, kind.head.ljust(size, b"\0"), sync=False)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def read(self, slot: int) -> bytes | None:
        """Return the content of a slot, as msgpack; None where it is empty or torn."""
        at = _SECTOR_BYTES + slot * self._slot_bytes
        return unpack_frame(self._map[at : at + self._slot_bytes])

    def write(self, slot: int, value: Any) -> None:
        """Put a value into a slot, which must have room for it and its frame."""
        frame = pack_frame(_encode(value))
        at = _SECTOR_BYTES + slot * self._slot_bytes
        self._map[at : at + len(frame)] = frame

    def sync(self) -> None:
        """Force all slots to the disk."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(self._path.parent)

    def close(self) -> None:
        """Unmap the file; it stays for the next life."""
        self._map.close()


def _is_whole(path: Path, kind: FileKind, size: int) -> bool:
    """Return True if there is a whole file of this kind."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        found = unpack_file(os.pread(descriptor, HEAD_BYTES, 0), kind, path)
        return not found.damaged and os.fstat(descriptor).st_size == size
    finally:
        os.close(descriptor)
