"""`MappedPlaces`: a file with a few places of a fixed size, each of which holds one value.

Each is written where it is, in memory that outlives the process: that takes no system call, and no
full disk is met after the file was made. Nothing is forced to the disk unless that is asked for.

A death in the midst of writing leaves that place empty. So what always has to be there needs two
places, written in turn. After a power cut a place holds the value before, the one behind, or none.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from .frames import HEAD_BYTES, Kind, pack_frame, unpack_file, unpack_frame
from .replaced_file import begin_file, read_file, sync_folder

_SECTOR_BYTES = 512
"""Disks write so much whole; the head has it for itself."""
_encode = msgspec.msgpack.Encoder().encode


class MappedPlaces:
    """The places of one file, for this user alone, with one writer.

    Parameters
    ----------
    path, kind
        The file, and what it holds.
    count, place_bytes
        Places, and how large each is.
    read_former
        Reads the content of a file that was written before there was this format: what is in each
        place, as msgpack, empty where there is nothing.

    Raises
    ------
    OSError
        It can't be made or opened.
    ConfigurationError
        It is of a version that this one doesn't know.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind,
        count: int,
        place_bytes: int,
        *,
        read_former: Callable[[bytes], Iterable[bytes]],
    ) -> None:
        self._path, self._place_bytes = path, place_bytes
        size = _SECTOR_BYTES + count * place_bytes
        if not _is_whole(path, kind, size):
            before = list(read_former(read_file(path) or b""))
            frames = [pack_frame(body) if body else b"" for body in before]
            content = kind.head.ljust(_SECTOR_BYTES, b"\0")
            content += b"".join(frame.ljust(place_bytes, b"\0") for frame in frames)
            os.close(begin_file(path, content.ljust(size, b"\0"), sync=any(before)))
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def read(self, place: int) -> bytes | None:
        """Return what is in a place, as msgpack; None where that is nothing, or is torn."""
        at = _SECTOR_BYTES + place * self._place_bytes
        return unpack_frame(self._map[at : at + self._place_bytes])

    def write(self, place: int, value: Any) -> None:
        """Put a value into a place, which has room for it and its frame."""
        frame = pack_frame(_encode(value))
        at = _SECTOR_BYTES + place * self._place_bytes
        self._map[at : at + len(frame)] = frame

    def sync(self) -> None:
        """Have all places on the disk."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(self._path.parent)

    def close(self) -> None:
        """Unmap the file; it stays for the next life."""
        self._map.close()


def _is_whole(path: Path, kind: Kind, size: int) -> bool:
    """Whether there is a file of this kind, all of it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        found = unpack_file(os.pread(descriptor, HEAD_BYTES, 0), kind, path)
        return found is not None and not found.damaged and os.fstat(descriptor).st_size == size
    finally:
        os.close(descriptor)
