"""`SlabPool`: a sender's payloads in shared memory, written once and read in place by all.

Neither side locks. A reference travels through a socket, which orders everything written before it.
A slab's head is cleared when it is given back, and the slab is used again once no reader has a
lease on it; see `leases`.

Memory is allocated before it is used, so a full /dev/shm is an error here instead of a SIGBUS.
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

from .allocator import HEAD_BYTES, PAGE_BYTES, SlabAllocator, SlabId, SlabOwner
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
    """A slab to be filled; `data` is writable and has exactly the length asked for."""

    reference: SlabReference
    data: memoryview


class SlabPool:
    """The slabs of this replica. May be used from several threads.

    Parameters
    ----------
    capacity
        Bytes of the file, rounded up to whole pages; they take memory at their first use.
    prefault_bytes
        How many of them get memory now, so that the first payloads are as fast as later ones.

    Raises
    ------
    AlreadyRunningError
        A pool of this name exists.
    UnavailableError
        The file can't be made, or there is no memory for its first bytes.
    """

    def __init__(
        self, name: str, capacity: int, prefault_bytes: int, directory: Path = SHARED_MEMORY
    ) -> None:
        self.name = name
        capacity = _whole_pages(max(capacity, 1))
        self._file = _PoolFile(directory / name, capacity, prefault_bytes)
        # Random, so that no number in a payload is mistaken for a generation.
        first_generation = (int.from_bytes(os.urandom(8)) >> 2) + 1
        self._allocator = SlabAllocator(
            capacity, first_generation, self._file.back, self._file.revoker(), FIRST_SLAB
        )
        self._lock = threading.Lock()
        # Filled by finalizers, which must not wait for the lock: they run at any time, in any
        # thread, even in the one that holds it.
        self._unpinned: deque[tuple[SlabReference, bool]] = deque()

    def take(
        self, length: int, owner: SlabOwner | None = None, *, pinned: bool = False
    ) -> Slab | None:
        """Take a slab for `length` bytes; None if the pool has none.

        With an owner the slab is freed when `reclaim` passes that. Otherwise the caller has to
        `assign` it or give it back; with `pinned` it is not used again before `unpin`.
        """
        with self._lock:
            self._unpin()
            slab_id = self._allocator.take(length, owner, pinned=pinned)
            if slab_id is None:
                return None
            self._write_head(slab_id, length, owner)
        reference = SlabReference(self.name, slab_id.offset, length, slab_id.generation)
        return Slab(reference, self._file.data[slab_id.offset : slab_id.offset + length])

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
        """Free a slab with a message; False if the slab is not in use any more."""
        slab_id = SlabId(reference.offset, reference.generation)
        with self._lock:
            if not self._allocator.assign(slab_id, owner):
                return False
            self._write_head(slab_id, reference.length, owner)
            return True

    def give_back(self, *references: SlabReference) -> bool:
        """Free slabs; False if all were free. Our views of them must not be used any more.

        A slab with a lease is used again when the lease has ended.
        """
        slab_ids = [SlabId(reference.offset, reference.generation) for reference in references]
        with self._lock:
            return self._allocator.give_back(*slab_ids) > 0

    def unpin(self, reference: SlabReference, *, give_back: bool = False) -> None:
        """Note that a slab has no views any more: it is used again once it was given back.

        `give_back`: give it back as well. A finalizer may call this: it does not wait, and takes
        effect with the next call of another method.
        """
        self._unpinned.append((reference, give_back))

    def _unpin(self) -> None:
        while self._unpinned:
            reference, give_back = self._unpinned.popleft()
            slab_id = SlabId(reference.offset, reference.generation)
            if give_back:
                self._allocator.give_back(slab_id)
            self._allocator.unpin(slab_id)

    def reclaim(self, source: str, epoch: int, frontier: int) -> list[int]:
        """Free the slabs of messages below a source's frontier; return their offsets."""
        with self._lock:
            self._unpin()
            return self._allocator.reclaim(source, epoch, frontier)

    def owner_epochs(self) -> list[tuple[str, int]]:
        """Return source and epoch of all owners, whose frontiers matter to this pool."""
        with self._lock:
            return self._allocator.owner_epochs()

    def remove(self) -> None:
        """Remove only the file, for a process that ends at once; its threads may still write."""
        with contextlib.suppress(OSError):
            self._file.path.unlink()

    def close(self) -> None:
        """Remove the file and unmap it; existing views stay valid until they are gone.

        Readers that have mapped it can read on. Does nothing if it was closed before.
        """
        self._file.close()

    def _write_head(self, slab_id: SlabId, length: int, owner: SlabOwner | None) -> None:
        words = self._file.words
        head = (slab_id.offset - HEAD_BYTES) >> 3
        source, epoch, sequence = owner or ("", 0, 0)
        words[head + LENGTH] = length
        words[head + SOURCE] = zlib.crc32(source.encode())
        words[head + EPOCH] = epoch & _WORD
        words[head + SEQUENCE] = sequence & _WORD
        words[head + GENERATION] = slab_id.generation


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
        """Allocate memory up to an offset; return False if there is none."""
        end = _whole_pages(end)
        if end > self.backed:
            try:
                self._extend(end)
            except OSError:
                return False
        return True

    def revoker(self) -> Callable[[Sequence[SlabId]], Callable[[int], bool]]:
        """Return a function that clears heads of slabs; see `SlabAllocator`."""
        words = self.words
        leases = LeaseTable(words, functools.partial(is_held, self._descriptor))

        def revoke(slab_ids: Sequence[SlabId]) -> Callable[[int], bool]:
            for slab_id in slab_ids:
                words[((slab_id.offset - HEAD_BYTES) >> 3) + GENERATION] = 0
            return leases.reads()

        return revoke

    def close(self) -> None:
        """Remove the file and unmap it. Does nothing if it was closed before."""
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
            # A kernel before 5.14.
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
