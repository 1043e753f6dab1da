"""`SlabReader`: payloads of other replicas, read where they lie. See `slab_pool`.

References come from other processes and are not believed: each is checked before any byte that
it names is touched. What nobody can be kept from: a program of the same user may shrink a file
that is mapped here.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from arroyo.errors import DecodeError
from arroyo.messages import SlabReference

from .allocator import HEAD_BYTES, PAGE_BYTES
from .files import BACKED, GENERATION, LENGTH, MAGIC_NUMBER, SHARED_MEMORY, owner_of
from .pages import LentSlab, SlabPages, make_private


class StaleSlabError(DecodeError):
    """A payload is gone: its slab was given back, or its sender's pool was removed."""


class SlabReader:
    """The pools of other replicas of one chain, for reading. Used from one thread.

    Parameters
    ----------
    prefix
        See `pool_prefix`; pools of other chains are refused.
    directory
        Where the senders make their pools.
    """

    def __init__(self, prefix: str, directory: Path = SHARED_MEMORY) -> None:
        self._prefix = prefix
        self._directory = directory
        self._mappings: dict[str, SlabPages] = {}

    def view(self, reference: SlabReference) -> memoryview:
        """Return the payload: read-only, without a copy, for as long as its sender keeps it.

        Raises
        ------
        StaleSlabError
            It was given back, or its pool is gone.
        DecodeError
            The reference can't have come from a pool of this chain.
        """
        pool, offset, length, generation = reference
        mapping = self._mappings.get(pool) or self._map(pool)
        end = offset + length
        if offset < 2 * HEAD_BYTES or offset % HEAD_BYTES or length < 0 or generation <= 0:
            raise DecodeError(f"a reference into the slab pool {pool} is of no slab: {reference}")
        # What has no memory yet must not be touched: with a full /dev/shm that is a SIGBUS.
        if end > mapping.size or end > mapping.words[BACKED]:
            raise DecodeError(f"a reference goes beyond the slab pool {pool}: {reference}")
        head = (offset - HEAD_BYTES) >> 3
        if mapping.words[head + GENERATION] != generation:
            raise StaleSlabError(
                f"a payload in the slab pool {pool} is gone: "
                f"its place at {offset} has been given back"
            )
        if mapping.words[head + LENGTH] != length:
            raise DecodeError(f"a reference is not as long as its slab: {reference}")
        return mapping.lend(offset, end)

    def forget(self, pool: str) -> None:
        """Unmap a pool whose sender is gone; views that are still held stay good."""
        self._mappings.pop(pool, None)

    def make_private(self, lent: LentSlab) -> None:
        """Keep a slab as it is for those who still hold views of it, whatever its sender does.

        Its sender must not have been told yet that it is done with.

        Raises
        ------
        OSError
            There is no memory.
        """
        make_private(lent)
        for pool, mapping in list(self._mappings.items()):
            if mapping is lent.place[0]:
                self.forget(pool)  # the next reference maps it anew

    def close(self) -> None:
        """Unmap all pools."""
        self._mappings.clear()

    def _map(self, pool: str) -> SlabPages:
        owner = owner_of(pool, self._prefix)
        if owner is None:
            raise DecodeError(
                f"a reference names {pool!r:.80}, which is no slab pool of this chain"
            )
        try:
            mapped = _map_readonly(self._directory / pool)
        except FileNotFoundError as error:
            raise StaleSlabError(f"the slab pool {pool} is gone: its sender has ended") from error
        except OSError as error:
            raise DecodeError(f"the slab pool {pool} can't be read: {error.strerror}") from error
        former = [each for each in self._mappings if owner_of(each, self._prefix) == owner]
        for pool_of_former_life in former[:-1]:
            # Its file is removed, but takes memory until nobody maps it. What the life just before
            # has sent may still be on its way.
            self.forget(pool_of_former_life)
        self._mappings[pool] = mapped
        return mapped


def _map_readonly(path: Path) -> SlabPages:
    # A sender's file is a plain one of this user; whatever else has its name is not waited for,
    # not followed and not believed.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise DecodeError(f"{path} is no slab pool: not a plain file of this user")
        if found.st_size == 0 or found.st_size % PAGE_BYTES:
            raise DecodeError(f"{path} is no slab pool: {found.st_size} bytes are not whole pages")
        if os.pread(descriptor, 8, 0) != MAGIC_NUMBER.to_bytes(8, sys.byteorder):
            raise DecodeError(f"{path} is no slab pool: it begins differently")
        return SlabPages(descriptor, found.st_size)
    finally:
        os.close(descriptor)
