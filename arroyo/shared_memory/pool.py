"""`SlabPool`: a sender's payloads in shared memory, written once and read by all in place.

Neither side locks. A reference travels through a socket, which orders everything written before it.
A slab's head is cleared when it is given back, and the slab is used again once no reader has a
lease on it; see `leases`.

Memory is allocated before it is used, so a full /dev/shm is an error here and no SIGBUS anywhere.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import mmap
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from arroyo.errors import AlreadyRunningError, UnavailableError
from arroyo.messages import SlabReference

from .allocator import HEAD_BYTES, PAGE_BYTES, Place, SlabAllocator, SlabOwner
from .files import (
    BACKED,
    EPOCH,
    FIRST_SLAB,
    GENERATION,
    LENGTH,
    MAGIC,
    MAGIC_NUMBER,
    SEQUENCE,
    SHARED_MEMORY,
    SOURCE,
    unmap,
)
from .leases import LeaseTable, clear, is_held

# Linux 5.14; the module `mmap` has no name for it.
_MADV_POPULATE_WRITE = 23
_WORD = (1 << 64) - 1


class Slab(NamedTuple):
    """A slab to be filled: `data` is writable and has exactly the length asked for."""

    reference: SlabReference
    data: memoryview


class SlabStatistics(NamedTuple):
    """What a pool holds: slabs and bytes in use, bytes that have memory, takes that failed."""

    slabs: int
    bytes_in_use: int
    bytes_backed: int
    fallbacks: int


class SlabPool:
    """The slabs of this replica. May be used from several threads.

    Parameters
    ----------
    name
        See `pool_name`.
    capacity
        Bytes of the file, rounded up to whole pages; they take memory when first used.
    prefault_bytes
        How many of them get memory now, so that the first payloads are as quick as later ones.
    directory
        Where the file is made: memory, not disk.

    Raises
    ------
    AlreadyRunningError
        A pool of this name is there already.
    UnavailableError
        The file can't be made, or there is no memory for the first bytes.
    """

    def __init__(
        self, name: str, capacity: int, prefault_bytes: int, directory: Path = SHARED_MEMORY
    ) -> None:
        self.name = name
        capacity = _whole_pages(max(capacity, 1))
        self._file = _PoolFile(directory / name, capacity, prefault_bytes)
        # Begins anywhere, so that no number in a payload is ever mistaken for one.
        first_generation = (int.from_bytes(os.urandom(8)) >> 2) + 1
        self._allocator = SlabAllocator(
            capacity, first_generation, self._file.back, self._file.revoker(), FIRST_SLAB
        )
        self._lock = threading.Lock()
        # Filled by finalizers, which must not wait for the lock: they run at any time, in any
        # thread, also in one that holds it.
        self._unpinned: deque[tuple[SlabReference, bool]] = deque()
        self._fallbacks = 0

    def take(
        self, length: int, owner: SlabOwner | None = None, *, pinned: bool = False
    ) -> Slab | None:
        """Find a slab for `length` bytes; None (and counted) where the pool has none.

        With an owner the slab is free when `reclaim` passes it. Else it is the taker's to
        `assign` or to give back; `pinned`: it is not used again before `unpin`, either.
        """
        with self._lock:
            self._unpin()
            place = self._allocator.take(length, owner, pinned=pinned)
            if place is None:
                self._fallbacks += 1
                return None
            self._write_head(place, length, owner)
        reference = SlabReference(self.name, place.offset, length, place.generation)
        return Slab(reference, self._file.data[place.offset : place.offset + length])

    def write(
        self, payload: bytes | bytearray | memoryview, owner: SlabOwner | None = None
    ) -> SlabReference | None:
        """Copy a payload (any C-contiguous buffer) into a slab; None as in `take`."""
        source = memoryview(payload).cast("B")
        slab = self.take(source.nbytes, owner)
        if slab is None:
            return None
        slab.data[:] = source
        return slab.reference

    def assign(self, reference: SlabReference, owner: SlabOwner) -> bool:
        """Let the end of a message free a slab; False where it isn't in use any more."""
        place = Place(reference.offset, reference.generation)
        with self._lock:
            if not self._allocator.assign(place, owner):
                return False
            self._write_head(place, reference.length, owner)
            return True

    def give_back(self, *references: SlabReference) -> bool:
        """Make slabs free; False where all were already. Views of them must not be used any more.

        One that a reader has a lease on is used again when that is over.
        """
        places = [Place(reference.offset, reference.generation) for reference in references]
        with self._lock:
            return self._allocator.give_back(*places) > 0

    def unpin(self, reference: SlabReference, *, give_back: bool = False) -> None:
        """Nobody looks at a slab any more; it is used again once it was given back.

        `give_back`: it is given back as well. May be called by a finalizer: it waits for nothing,
        and takes effect with whatever is asked of the pool next.
        """
        self._unpinned.append((reference, give_back))

    def _unpin(self) -> None:
        while self._unpinned:
            reference, give_back = self._unpinned.popleft()
            place = Place(reference.offset, reference.generation)
            if give_back:
                self._allocator.give_back(place)
            self._allocator.unpin(place)

    def reclaim(self, source: str, epoch: int, frontier: int) -> list[int]:
        """Make free what belongs to messages below a source's frontier; return the offsets."""
        with self._lock:
            self._unpin()
            return self._allocator.reclaim(source, epoch, frontier)

    def lives(self) -> list[tuple[str, int]]:
        """Source and epoch of all owners: those whose frontiers matter to this pool."""
        with self._lock:
            return self._allocator.lives()

    def statistics(self) -> SlabStatistics:
        """Tell what the pool holds now."""
        with self._lock:
            self._unpin()
            return SlabStatistics(
                len(self._allocator),
                self._allocator.bytes_in_use,
                self._file.backed,
                self._fallbacks,
            )

    def remove(self) -> None:
        """Remove the file alone, for a process that ends at once; its threads may still write."""
        with contextlib.suppress(OSError):
            self._file.path.unlink()

    def close(self) -> None:
        """Remove the file and unmap it; views that are still held stay good until they are gone.

        Readers that have mapped it can read on. Once closed, it does nothing.
        """
        self._file.close()

    def _write_head(self, place: Place, length: int, owner: SlabOwner | None) -> None:
        words = self._file.words
        head = (place.offset - HEAD_BYTES) >> 3
        source, epoch, sequence = owner or ("", 0, 0)
        words[head + LENGTH] = length
        words[head + SOURCE] = zlib.crc32(source.encode())
        words[head + EPOCH] = epoch & _WORD
        words[head + SEQUENCE] = sequence & _WORD
        words[head + GENERATION] = place.generation


class _PoolFile:
    """A new file and its mapping; errors as in `SlabPool`."""

    def __init__(self, path: Path, capacity: int, prefault_bytes: int) -> None:
        self.path = path
        self.backed = 0
        """Bytes from the beginning that have memory."""
        self._descriptor, self._map = _create(path, capacity)
        self.data = memoryview(self._map)
        self.words = self.data.cast("Q")
        try:
            self._extend(min(_whole_pages(max(prefault_bytes, 1)), capacity))
        except OSError as error:
            self.close()
            raise UnavailableError(
                f"the slab pool {path} can't have {prefault_bytes} bytes of memory: "
                f"{error.strerror}; free some of {path.parent}, or give the chain smaller pools"
            ) from error
        clear(self.words)
        self.words[MAGIC] = MAGIC_NUMBER

    def back(self, end: int) -> bool:
        """Make sure that there is memory up to an offset; False where there is no more."""
        end = _whole_pages(end)
        if end > self.backed:
            try:
                self._extend(end)
            except OSError:
                return False
        return True

    def revoker(self) -> Callable[[Sequence[Place]], Callable[[int], bool]]:
        """Return what clears heads of slabs; see `SlabAllocator`."""
        words = self.words
        leases = LeaseTable(words, functools.partial(is_held, self._descriptor))

        def revoke(places: Sequence[Place]) -> Callable[[int], bool]:
            for place in places:
                words[((place.offset - HEAD_BYTES) >> 3) + GENERATION] = 0
            return leases.reads()

        return revoke

    def close(self) -> None:
        """Remove the file and let go of the mapping; once closed, it does nothing."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        unmap(self._map, self.words, self.data)

    def _extend(self, end: int) -> None:
        length = end - self.backed
        os.posix_fallocate(self._descriptor, self.backed, length)
        # Into the page table of this process as well, all at once.
        try:
            self._map.madvise(_MADV_POPULATE_WRITE, self.backed, length)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # An old kernel, which doesn't know it.
            self._map[self.backed : end : PAGE_BYTES] = bytes(length // PAGE_BYTES)
        self.backed = self.words[BACKED] = end


def _create(path: Path, capacity: int) -> tuple[int, mmap.mmap]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise AlreadyRunningError(
            f"the slab pool {path} exists already; each life of a replica needs its own"
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"the slab pool {path} can't be made: {error.strerror}; "
            "payloads in shared memory need a directory in memory that you may write"
        ) from error
    try:
        os.ftruncate(descriptor, capacity)
        return descriptor, mmap.mmap(descriptor, capacity)
    except OSError as error:
        os.close(descriptor)
        path.unlink()
        raise UnavailableError(
            f"the slab pool {path} can't have {capacity} bytes of addresses: {error.strerror}; "
            "give the chain smaller pools"
        ) from error


def _whole_pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
