"""Leases: which slabs of a pool are being read just now, as the pool's owner sees it.

A message can be worked on in two places at once: it is sent again when a stage below dies, and the
replica that had it first still has it in hand. The second one may finish it, and then nothing in
the protocol tells the owner that the first one still reads its slab. So every reader of a pool has
a place in the pool's first page, where it says which generations it reads: one range, from the
oldest to the youngest. Each place is written by one reader alone, and nobody waits for anybody.

    reader                                  owner
    writes its range into its place         clears the generation in the slab's head
    FENCE                                   FENCE
    reads the generation in the head        reads all places
      cleared: the payload is gone            in a range: the slab is kept out of use
      as expected: reads the payload          else: uses the slab again

One of the fences comes first. If it is the reader's, the owner sees the range; if it is the
owner's, the reader sees the cleared generation. So a slab is never written while it is read.

A range may cover slabs that nobody reads, which only delays their use. A reader holds a lock of
the kernel on its place, which goes with its process: the range of a dead reader counts for nothing.
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
"""Readers of one pool that can hold leases; further ones copy each payload (see `SlabReader`)."""
OLDEST, YOUNGEST = 128, 128 + PLACES
"""Words in the pool's first page where the ranges begin, and where they end: one of each for each
place. Where nothing is read, the range begins at `NOTHING` and ends at 0."""
NOTHING = (1 << 64) - 1

_lock = threading.Lock()
_ROUNDS = range(1 if platform.machine() == "x86_64" else 2)

# struct flock of Linux: l_type, l_whence, l_start, l_len, l_pid, closed to 8 bytes.
_FLOCK = struct.Struct("hhqqi4x")


def fence() -> None:
    """Complete all stores before this, for all processors, before any load after it.

    To take a lock orders what follows it, to release one what came before it. On x86 each is a
    full barrier. On ARM it takes a release *followed* by an acquire, hence the second round.
    """
    for _ in _ROUNDS:
        with _lock:
            pass


class Lease:
    """A reader's place in one pool.

    Parameters
    ----------
    words
        The pool's first page.
    place
        Which place is this reader's; see `claim`.
    fence
        See the module.
    """

    def __init__(
        self, words: memoryview[int], place: int, fence: Callable[[], None] = fence
    ) -> None:
        self._words = words
        self._oldest, self._youngest = OLDEST + place, YOUNGEST + place
        self._fence = fence
        self._set(NOTHING, 0)  # a reader before this one may have died in this place

    def extend(self, oldest: int, youngest: int) -> None:
        """Cover these generations too. Their heads are to be read after a fence, not before."""
        self._set(min(oldest, self._range[0]), max(youngest, self._range[1]))

    def narrow(self, generations: Sequence[int]) -> None:
        """Cover these generations only, all of which were covered before."""
        wanted = (min(generations), max(generations)) if generations else (NOTHING, 0)
        if wanted != self._range:
            self._fence()  # whatever was read of the others has been read
            self._set(*wanted)

    def _set(self, oldest: int, youngest: int) -> None:
        # Between the two stores either the old end holds or the new one: whatever is in both
        # ranges stays covered.
        self._words[self._oldest] = oldest
        self._words[self._youngest] = youngest
        self._range = (oldest, youngest)


class LeaseTable:
    """All leases of one pool, for its owner.

    Parameters
    ----------
    words
        The pool's first page.
    is_held
        Tells whether a living process has a place.
    fence
        See the module.
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
        """Return what tells whether somebody reads a generation that was cleared before."""
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
    """Make all places of a new pool empty."""
    for place in range(PLACES):
        words[OLDEST + place] = NOTHING


def claim(descriptor: int) -> int | None:
    """Take a place in the pool with this descriptor, for as long as it is open anywhere.

    Returns None where all places are taken.
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
    """Whether another descriptor, of whatever process, has a place in a pool."""
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _lock_on(place, fcntl.F_WRLCK))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _lock_on(place: int, kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0)
