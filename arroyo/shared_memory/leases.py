"""Leases: tell the owner of a pool which of its slabs are being read.

A message can be worked on in two places at once: after a death below it is sent again, while the
replica that had it first still works on it. When the second one finishes it, nothing in the
protocol tells the owner that the first one still reads the slab. So every reader of a pool has a
place in the pool's first page, in which it writes the generations that it reads: one range, from
the oldest to the youngest. Each place has one writer, and no process waits for another.

    reader                                  owner
    writes its range into its place         clears the generation in the slab's head
    FENCE                                   FENCE
    reads the generation in the head        reads all places
      cleared: the payload is gone            in a range: the slab is kept out of use
      as expected: reads the payload          else: uses the slab again

One of the fences comes first. If it is the reader's, the owner sees the range; if it is the
owner's, the reader sees the cleared generation. So a slab is never written while it is read.

A range may cover slabs that are not read, which only delays their use. A reader holds a lock of the
kernel on its place, which ends with its process: the range of a dead reader does not count.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import struct
import threading
from collections.abc import Callable, Sequence

PLACES = 32
"""Number of readers of one pool with a lease; others copy each payload (see `SlabReader`)."""
OLDEST, YOUNGEST = 128, 128 + PLACES
"""First words of the ranges' beginnings and ends in the pool's first page, one for each place. A
reader that reads nothing has the range from `NOTHING` to 0."""
NOTHING = (1 << 64) - 1

_lock = threading.Lock()
_ROUNDS = range(1 if platform.machine() == "x86_64" else 2)

# struct flock of Linux: l_type, l_whence, l_start, l_len, l_pid, closed to 8 bytes.
_FLOCK = struct.Struct("hhqqi4x")


def fence() -> None:
    """Complete all stores before this, for all processors, before any load after it.

    Taking a lock orders what follows, releasing it what came before. On x86 each of the two is a
    full barrier. On ARM a release *followed* by an acquire is one, hence the second round.
    """
    for _ in _ROUNDS:
        with _lock:
            pass


class Lease:
    """A reader's place in one pool.

    `place`: place of this reader; see `claim`.
    """

    def __init__(
        self, words: memoryview[int], place: int, fence: Callable[[], None] = fence
    ) -> None:
        self._words = words
        self._oldest, self._youngest = OLDEST + place, YOUNGEST + place
        self._fence = fence
        self._set(NOTHING, 0)  # an earlier reader may have died in this place

    def extend(self, oldest: int, youngest: int) -> None:
        """Cover these generations too. Read their heads only after a fence."""
        self._set(min(oldest, self._range[0]), max(youngest, self._range[1]))

    def narrow(self, generations: Sequence[int]) -> None:
        """Cover only these generations, which were covered before."""
        wanted = (min(generations), max(generations)) if generations else (NOTHING, 0)
        if wanted != self._range:
            self._fence()  # completes the reading of the others
            self._set(*wanted)

    def _set(self, oldest: int, youngest: int) -> None:
        # Between the two stores the range has the old end or the new one: what is in both ranges
        # stays covered.
        self._words[self._oldest] = oldest
        self._words[self._youngest] = youngest
        self._range = (oldest, youngest)


class LeaseTable:
    """All leases of one pool, as its owner sees them.

    `is_held`: tells whether a living process holds a place.
    """

    def __init__(
        self,
        words: memoryview[int],
        is_held: Callable[[int], bool],
        fence: Callable[[], None] = fence,
    ) -> None:
        self._words = words
        self._is_held = is_held
        self._fence = fence

    def reads(self) -> Callable[[int], bool]:
        """Return a function that tells whether a cleared generation is still read."""
        self._fence()
        words = self._words
        begins = words[OLDEST : OLDEST + PLACES].tolist()
        oldest = min(begins)

        def is_read(generation: int) -> bool:
            if generation < oldest:
                return False  # nearly always: the oldest messages are finished first
            return any(
                begin <= generation <= words[YOUNGEST + place] and self._is_held(place)
                for place, begin in enumerate(begins)
            )

        return is_read


def clear(words: memoryview[int]) -> None:
    """Clear all places of a new pool."""
    for place in range(PLACES):
        words[OLDEST + place] = NOTHING


def claim(descriptor: int) -> int | None:
    """Take a place in the pool with this descriptor, for as long as that is open anywhere.

    Returns None if all places are taken.
    """
    for place in range(PLACES):
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock_on(place, fcntl.F_WRLCK))
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
        else:
            return place
    return None


def is_held(descriptor: int, place: int) -> bool:
    """Return True if another descriptor, of any process, holds a place in a pool."""
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _lock_on(place, fcntl.F_WRLCK))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _lock_on(place: int, kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0)
