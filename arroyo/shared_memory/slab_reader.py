"""`SlabReader`: reads payloads of other replicas in place. See `pool`.

References come from other processes and are not trusted: each is checked before any byte that it
names is touched. One thing can't be prevented: a program of the same user may shrink a file that is
mapped here.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path

from arroyo.errors import DecodeError
from arroyo.messages import SlabReference

from .allocator import HEAD_BYTES, PAGE_BYTES
from .files import (
    BACKED,
    FIRST_SLAB,
    GENERATION,
    LENGTH,
    MAGIC_NUMBER,
    SHARED_MEMORY,
    owner_of,
)
from .leases import Lease, claim, fence
from .pages import LentSlabs, SlabPages, make_private

_FIRST_OFFSET = FIRST_SLAB + HEAD_BYTES
_WORD = (1 << 64) - 1


class StaleSlabError(DecodeError):
    """A payload is gone: its slab was given back, or its sender's pool was removed."""


class MissingPoolError(StaleSlabError):
    """The sender's pool is not there: the sender has ended, or has another /dev/shm."""


class SlabReader:
    """The pools of other replicas of one chain, for reading. Used by one thread at a time.

    Payloads that it has lent are not overwritten before all their views are gone or private, and
    `release` was called.

    `prefix`: see `pool_prefix`; pools of other chains are refused.
    """

    def __init__(self, prefix: str, directory: Path = SHARED_MEMORY) -> None:
        self._prefix = prefix
        self._directory = directory
        self._pools: dict[str, _OpenPool] = {}

    def view(self, reference: SlabReference) -> memoryview:
        """Return one payload; see `views`."""
        [view] = self.views([reference])
        return view

    def views(
        self, references: Sequence[SlabReference], *, together: bool = False
    ) -> list[memoryview]:
        """Return payloads as read-only views, without a copy.

        `together`: those of one pool are one loan, which takes less time, but holds all of them as
        long as one is held.

        StaleSlabError: a slab was given back, or its pool is gone.
        DecodeError: a reference can't have come from a pool of this chain.
        """
        names = {reference.pool for reference in references}
        for name in names:
            generations = [each.generation for each in references if each.pool == name]
            oldest, youngest = min(generations), max(generations)
            if oldest <= 0 or youngest > _WORD:
                raise DecodeError(f"a reference into the slab pool {name} is of no slab")
            (self._pools.get(name) or self._open(name)).extend(oldest, youngest)
        fence()
        try:
            if len(names) == 1:
                return self._pools[names.pop()].lend(references, together=together)
            return [self._pools[each.pool].lend((each,))[0] for each in references]
        except DecodeError:
            self.release()
            raise

    def release(self) -> None:
        """Let the owners reuse slabs that were lent and have no views any more."""
        for pool in self._pools.values():
            pool.narrow()

    def forget(self, pool: str) -> None:
        """Unmap a pool whose sender is gone; existing views stay valid."""
        found = self._pools.pop(pool, None)
        if found is not None:
            found.close()

    def make_private(self, lent: LentSlabs) -> None:
        """Keep slabs as they are for existing views, whatever the sender does.

        OSError: there is no memory.
        """
        make_private(lent)
        for pool in self._pools.values():
            pool.note_private(lent)

    def close(self) -> None:
        """Unmap all pools."""
        for pool in list(self._pools):
            self.forget(pool)

    def _open(self, pool: str) -> _OpenPool:
        owner = owner_of(pool, self._prefix)
        if owner is None:
            raise DecodeError(
                f"a reference names {pool!r:.80}, which is no slab pool of this chain"
            )
        try:
            opened = _OpenPool(self._directory / pool)
        except FileNotFoundError as error:
            raise MissingPoolError(f"the slab pool {pool} is gone: its sender has ended") from error
        except OSError as error:
            raise DecodeError(f"the slab pool {pool} can't be read: {error.strerror}") from error
        former = [each for each in self._pools if owner_of(each, self._prefix) == owner]
        for pool_of_former_life in former[:-1]:
            # Its file was removed, but takes memory as long as it is mapped. Messages of the last
            # former life may still be in flight, so its pool stays.
            self.forget(pool_of_former_life)
        self._pools[pool] = opened
        return opened


class _OpenPool:
    """One pool in this process, and its loans.

    Errors as in `SlabReader.view`, or an OSError if it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._descriptor, self._size = _open_pool(path)
        with contextlib.ExitStack() as failing:
            failing.callback(os.close, self._descriptor)
            self._pages: SlabPages | None = SlabPages(self._descriptor, self._size)
            self._head = SlabPages(self._descriptor, FIRST_SLAB, writable=True)
            place = claim(self._descriptor)
            failing.pop_all()
        # Without a place, since too many others read the pool.
        self._lease = None if place is None else Lease(self._head.words, place)
        # The oldest and the youngest generation of each loan.
        self._lent: list[tuple[tuple[int, int], weakref.ref[LentSlabs]]] = []

    def extend(self, oldest: int, youngest: int) -> None:
        """Keep generations from being overwritten; after a fence they can be lent."""
        if self._lease is not None:
            self._lease.extend(oldest, youngest)

    def lend(
        self, references: Sequence[SlabReference], *, together: bool = False
    ) -> list[memoryview]:
        """Return views of slabs, or copies if we have no lease."""
        if self._pages is None:
            self._pages = SlabPages(self._descriptor, self._size)
        places = self._find(self._pages.words, references)
        if self._lease is None:
            return self._copy(self._pages, references, places)
        generations = [each.generation for each in references]
        if together:
            views = self._pages.lend(places)
            self._note_loan(min(generations), max(generations), views)
            return views
        views = []
        for generation, place in zip(generations, places, strict=True):
            view = self._pages.lend((place,))
            self._note_loan(generation, generation, view)
            views += view
        return views

    def _note_loan(self, oldest: int, youngest: int, views: Sequence[memoryview]) -> None:
        self._lent.append(((oldest, youngest), weakref.ref(views[0].obj)))

    def _find(
        self, words: memoryview[int], references: Sequence[SlabReference]
    ) -> list[tuple[int, int]]:
        """Return offset and end of slabs."""
        # Bytes without memory must not be touched: with a full /dev/shm that is a SIGBUS.
        limit = min(self._size, words[BACKED])
        places = []
        for reference in references:
            _, offset, length, generation = reference
            end = offset + length
            if end > limit or offset < _FIRST_OFFSET or offset % HEAD_BYTES or length < 0:
                raise DecodeError(f"a reference is of no slab in its pool: {reference}")
            head = (offset - HEAD_BYTES) >> 3
            if words[head + GENERATION] != generation:
                raise _gone(reference)
            if words[head + LENGTH] != length:
                raise DecodeError(f"a reference is not as long as its slab: {reference}")
            places.append((offset, end))
        return places

    def _copy(
        self,
        pages: SlabPages,
        references: Sequence[SlabReference],
        places: Sequence[tuple[int, int]],
    ) -> list[memoryview]:
        views = [memoryview(bytes(view)) for view in pages.lend(places)]
        fence()
        for reference in references:
            head = (reference.offset - HEAD_BYTES) >> 3
            if pages.words[head + GENERATION] != reference.generation:
                raise _gone(reference)
        return views

    def note_private(self, lent: LentSlabs) -> None:
        """Note that slabs have private pages now; map their pool again, if it is this one.

        The private pages may hold parts of neighbouring slabs, which are out of date from now on.
        """
        if lent.places[0] is self._pages:
            self._pages = None
        self._lent = [
            (generations, other)
            for generations, other in self._lent
            if (found := other()) is not None and found.places != lent.places
        ]

    def narrow(self) -> None:
        """Keep only the lease on slabs that still have views."""
        if self._lease is not None:
            self._lent = lent = [each for each in self._lent if each[1]() is not None]
            self._lease.narrow([each for generations, _ in lent for each in generations])

    def close(self) -> None:
        """Give up the lease; existing views stay valid, since the owner has ended."""
        os.close(self._descriptor)


def _gone(reference: SlabReference) -> StaleSlabError:
    return StaleSlabError(
        f"a payload in the slab pool {reference.pool} is gone: "
        f"its place at {reference.offset} has been given back"
    )


def _open_pool(path: Path) -> tuple[int, int]:
    # A sender's file is a plain one of this user. Anything else of its name is not waited for, not
    # followed and not trusted.
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with contextlib.ExitStack() as failing:
        failing.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise DecodeError(f"{path} is no slab pool: not a plain file of this user")
        if found.st_size == 0 or found.st_size % PAGE_BYTES:
            raise DecodeError(f"{path} is no slab pool: {found.st_size} bytes are not whole pages")
        if os.pread(descriptor, 8, 0) != MAGIC_NUMBER.to_bytes(8, sys.byteorder):
            raise DecodeError(f"{path} is no slab pool: it begins differently")
        failing.pop_all()
    return descriptor, found.st_size
