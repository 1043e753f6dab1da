"""Status pages, mapped: a replica writes its own, the supervisor and `arroyo status` read it."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from arroyo.protocol.status_page import FIELDS, MAGIC, OFFSET, PAGE_BYTES, Phase

_LAYOUT = struct.Struct(f"={len(FIELDS)}Q")


class StatusPage:
    """The page of this replica, for writing. Counters start at zero in each incarnation."""

    def __init__(self, path: Path, pid: int, incarnation: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, PAGE_BYTES)
            self._map = mmap.mmap(descriptor, PAGE_BYTES)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("Q")
        for index in range(len(FIELDS)):
            self._words[index] = 0
        self.set("pid", pid)
        self.set("incarnation", incarnation)
        self.set("magic", MAGIC)

    def set(self, field: str, value: int) -> None:
        """Store one word."""
        self._words[OFFSET[field] >> 3] = value

    def add(self, field: str, amount: int) -> None:
        """Add to one word (only this replica's one writer does)."""
        self._words[OFFSET[field] >> 3] += amount

    def enter(self, phase: Phase, now_ns: int) -> None:
        """Mark what the working thread is at since `now_ns` (monotonic)."""
        self._words[OFFSET["phase_since_ns"] >> 3] = now_ns
        self._words[OFFSET["phase"] >> 3] = phase

    def close(self) -> None:
        """Unmap; the file stays for readers."""
        self._words.release()
        self._map.close()


def read_status_page(path: Path) -> dict[str, int] | None:
    """Read the words of a page by name; None where there is no page (yet)."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) != PAGE_BYTES:
        return None
    words = dict(zip(FIELDS, _LAYOUT.unpack_from(content), strict=True))
    return words if words["magic"] == MAGIC else None
