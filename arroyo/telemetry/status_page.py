"""Status pages, mapped: a replica writes its own, the supervisor and `arroyo status` read it."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from arroyo.errors import fault_of

from .histogram import BUCKETS
from .status_words import FIELDS, HEAD_BYTES, HISTOGRAM_OFFSET, MAGIC, OFFSET, PAGE_BYTES, Phase

_INDEX = {name: offset >> 3 for name, offset in OFFSET.items()}
_LAYOUT = struct.Struct(f"={len(FIELDS)}Q")
_HISTOGRAM = struct.Struct(f"={BUCKETS}Q")


class StatusPage:
    """The page of this replica, for writing. Counters start at zero in each incarnation.

    `path`: its file; None: nobody else reads it.

    Raises
    ------
    ConfigurationError
        The file can't be made.
    UnavailableError
        There is no room for it.
    """

    def __init__(self, path: Path | None, pid: int, incarnation: int) -> None:
        try:
            self._map = mmap.mmap(-1, PAGE_BYTES) if path is None else _map(path)
        except OSError as error:
            raise fault_of(error)(
                f"the status page {path} can't be made: {error.strerror}; make room on its disk, "
                "or set ARROYO_RUN_DIR to another folder"
            ) from error
        self._words = memoryview(self._map).cast("Q")
        self._lent: list[memoryview] = []
        self._map[:] = bytes(PAGE_BYTES)
        self.set("pid", pid)
        self.set("incarnation", incarnation)
        self.set("magic", MAGIC)

    def set(self, field: str, value: int) -> None:
        """Store one word."""
        self._words[_INDEX[field]] = value

    def add(self, field: str, amount: int) -> None:
        """Add to one word (only this replica's one writer does)."""
        self._words[_INDEX[field]] += amount

    def enter(self, phase: Phase, now_ns: int) -> None:
        """Mark what the working thread is at since `now_ns` (monotonic)."""
        self._words[_INDEX["phase_since_ns"]] = now_ns
        self._words[_INDEX["phase"]] = phase

    def word(self, field: str) -> memoryview:
        """Return one word, for those who store it often: ``page.word(field)[0] = value``."""
        return self._lend(OFFSET[field], 1)

    def histogram(self, name: str) -> memoryview:
        """Return the words of a histogram."""
        return self._lend(HISTOGRAM_OFFSET[name], BUCKETS)

    def _lend(self, offset: int, words: int) -> memoryview:
        first = offset >> 3
        self._lent.append(self._words[first : first + words])
        return self._lent[-1]

    def take(self, source: int, epoch: int, base: int) -> None:
        """Mark that messages of a source are in hand from now on, first a Start or Stop.

        `source` is its place in `Chain.replicas`; `base` as in `Batch`.
        """
        # In this order: whoever looks in between sees no message of the one source as the other's.
        words, index = self._words, _INDEX
        words[index["hand_sequence"]] = 0
        words[index["hand_part"]] = 0
        words[index["hand_epoch"]] = epoch
        words[index["hand_base"]] = base
        words[index["hand_source"]] = source + 1

    def put_down(self) -> None:
        """Mark that no message is in hand any more."""
        self.set("hand_source", 0)

    def close(self) -> None:
        """Unmap; the file stays for readers."""
        for word in (*self._lent, self._words):
            word.release()
        self._map.close()


def _map(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, PAGE_BYTES)
        # Now: to write to a page that has no room on the disk would end the process.
        os.posix_fallocate(descriptor, 0, PAGE_BYTES)
        return mmap.mmap(descriptor, PAGE_BYTES)
    finally:
        os.close(descriptor)


def read_status_page(path: Path) -> dict[str, int] | None:
    """Read the words of a page by name; None where there is no page (yet)."""
    try:
        return parse_status_page(path.read_bytes())
    except OSError:
        return None


def parse_status_page(content: bytes) -> dict[str, int] | None:
    """Return the words in the bytes of a page, or of its head, by name; None: they are none."""
    if len(content) not in {HEAD_BYTES, PAGE_BYTES}:
        return None
    words = dict(zip(FIELDS, _LAYOUT.unpack_from(content), strict=True))
    return words if words["magic"] == MAGIC else None


def read_histograms(path: Path, incarnation: int) -> dict[str, tuple[int, ...]]:
    """Read the histograms of a page by name; empty where it is not that incarnation's."""
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    words = parse_status_page(content)
    if words is None or words["incarnation"] != incarnation or len(content) != PAGE_BYTES:
        return {}
    return {
        name: _HISTOGRAM.unpack_from(content, offset) for name, offset in HISTOGRAM_OFFSET.items()
    }
