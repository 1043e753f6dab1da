"""Status pages in shared memory: each replica writes its own, others read it."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

from arroyo.errors import fault_of

from .histogram import BUCKETS
from .status_words import (
    FIELDS,
    HEAD_BYTES,
    HISTOGRAM_OFFSET,
    MAGIC,
    NO_SEQUENCE,
    OFFSET,
    PAGE_BYTES,
    SAID_HOLDS_S,
    SENTENCE_BYTES,
    SENTENCE_OFFSET,
    SPENT,
    Phase,
)

_INDEX = {name: offset >> 3 for name, offset in OFFSET.items()}
_PHASE = _INDEX["phase"]
_SINCE = _INDEX["phase_since_ns"]
_HAND_SOURCE, _HAND_EPOCH, _HAND_BASE, _HAND_SEQUENCE, _HAND_PART, _HAND_END = (
    _INDEX[f"hand_{what}"] for what in ("source", "epoch", "base", "sequence", "part", "end")
)
_LAYOUT = struct.Struct(f"={len(FIELDS)}Q")
_HISTOGRAM = struct.Struct(f"={BUCKETS}Q")


class StatusPage:
    """The page of this replica, for writing. Counters start at zero in each incarnation.

    `path`: its file; None: there are no readers.

    ConfigurationError: the file can't be made.
    UnavailableError: the disk is full.
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
        self._sentence = ""
        self._map[:] = bytes(PAGE_BYTES)
        self.set("pid", pid)
        self.set("incarnation", incarnation)
        self.set("hand_sequence", NO_SEQUENCE)
        self.set("magic", MAGIC)

    def set(self, field: str, value: int) -> None:
        """Store one word."""
        self._words[_INDEX[field]] = value

    def add(self, field: str, amount: int) -> None:
        """Add to one word. A page has one writer."""
        self._words[_INDEX[field]] += amount

    def enter(self, phase: Phase, now_ns: int) -> None:
        """Set the phase of the working thread, since `now_ns` (monotonic)."""
        words = self._words
        if since_ns := words[_SINCE]:
            words[SPENT + words[_PHASE]] += now_ns - since_ns
        words[_SINCE] = now_ns
        words[_PHASE] = phase

    def say_waiting(self, why: str, now_ns: int) -> None:
        """Set what this replica waits for; to be said again while it does. One thread says it."""
        words, index = self._words, _INDEX
        if why != self._sentence or now_ns - words[index["said_ns"]] > SAID_HOLDS_S * 1e9:
            words[index["said_ns"]] = 0  # no reader takes one sentence for another's
            text = why.encode(errors="replace")[:SENTENCE_BYTES].ljust(SENTENCE_BYTES, b"\0")
            self._map[SENTENCE_OFFSET : SENTENCE_OFFSET + SENTENCE_BYTES] = text
            words[index["waits_since_ns"]] = now_ns
            self._sentence = why
        words[index["said_ns"]] = now_ns

    def word(self, field: str) -> memoryview:
        """Return one word, for storing it often: ``page.word(field)[0] = value``."""
        return self._lend(OFFSET[field], 1)

    def histogram(self, name: str) -> memoryview:
        """Return the words of a histogram."""
        return self._lend(HISTOGRAM_OFFSET[name], BUCKETS)

    def _lend(self, offset: int, words: int) -> memoryview:
        first = offset >> 3
        self._lent.append(self._words[first : first + words])
        return self._lent[-1]

    def take(self, source: int, epoch: int, base: int) -> None:
        """Set the source of the messages in hand, first a Start or Stop.

        `source` is its index in `Chain.replicas`; `base` as in `Batch`.
        """
        # In this order, so that a reader takes no message of one source for the other's.
        words = self._words
        words[_HAND_SEQUENCE] = NO_SEQUENCE
        words[_HAND_PART] = 0
        words[_HAND_END] = 0
        words[_HAND_EPOCH] = epoch
        words[_HAND_BASE] = base
        words[_HAND_SOURCE] = source + 1

    def put_down(self) -> None:
        """Set that no message is in hand."""
        self._words[_HAND_SOURCE] = 0

    def close(self) -> None:
        """Unmap; the file stays for readers."""
        for word in (*self._lent, self._words):
            word.release()
        self._map.close()


def _map(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, PAGE_BYTES)
        # Allocate now: writing to a page without room on the disk would end the process (SIGBUS).
        os.posix_fallocate(descriptor, 0, PAGE_BYTES)
        return mmap.mmap(descriptor, PAGE_BYTES)
    finally:
        os.close(descriptor)


def read_status_page(path: Path) -> dict[str, int] | None:
    """Return the words of a page by name; None where there is no page (yet)."""
    try:
        return parse_status_page(path.read_bytes())
    except OSError:
        return None


def parse_status_page(content: bytes) -> dict[str, int] | None:
    """Return the words of a page, or of its head, by name; None where these bytes are none."""
    if len(content) not in {HEAD_BYTES, PAGE_BYTES}:
        return None
    words = dict(zip(FIELDS, _LAYOUT.unpack_from(content), strict=True))
    return words if words["magic"] == MAGIC else None


class Waiting(NamedTuple):
    """What a replica waits for, and since when, in ns (monotonic)."""

    why: str
    since_ns: int


class WholePage(NamedTuple):
    """All that a page said at one moment."""

    words: dict[str, int]
    content: bytes

    def histogram(self, name: str) -> tuple[int, ...]:
        """Return the counts of a histogram."""
        counts: tuple[int, ...] = _HISTOGRAM.unpack_from(self.content, HISTOGRAM_OFFSET[name])
        return counts

    def waiting(self, now_ns: int) -> Waiting | None:
        """Return what the replica waits for; None where it waits for nothing."""
        words = self.words
        if not words["said_ns"] or now_ns - words["said_ns"] > SAID_HOLDS_S * 1e9:
            return None
        text = self.content[SENTENCE_OFFSET : SENTENCE_OFFSET + SENTENCE_BYTES]
        return Waiting(text.rstrip(b"\0").decode(errors="ignore"), words["waits_since_ns"])


def read_whole_page(path: Path) -> WholePage | None:
    """Return all of a page; None where there is no page (yet)."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    words = parse_status_page(content)
    if words is None or len(content) != PAGE_BYTES:
        return None
    return WholePage(words, content)
