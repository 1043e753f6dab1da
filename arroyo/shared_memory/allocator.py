"""`SlabAllocator`: which part of a pool holds which payload, and when it is free again. PURE.

A pool is a stretch of bytes. It begins with a head of its own, then slabs follow, each with a
head right before its data. Rules:
- Sizes are rounded to eight steps per doubling, so that payloads of about one size share slabs.
- What was given back last is taken first: its memory is in the caches and page tables already.
- Every take has a greater generation than all before it in the pool. A reference holds the
  generation, so that it is known to be stale once its slab was given back.
- A slab that has an owner is free when the frontier of the owner's source has passed it.
- A slab that was given back while it is pinned, or while a reader has a lease on it, is not used
  again before it is unpinned, and the lease is over.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

HEAD_BYTES = 64
"""In front of the pool and of each slab's data; data begins at a multiple of it."""
PAGE_BYTES = 4096
PAGE_ALIGNED_BYTES = 64 * 1024
"""Slabs from this size on have their data at the beginning of a page."""
STEPS = 8
"""Sizes per doubling: at most an eighth of a slab is lost to rounding."""
SPARE = 2
"""A slab may be taken for a payload that needs at least one part in this many of it."""


class SlabOwner(NamedTuple):
    """The message whose end frees a slab."""

    source: str
    epoch: int
    sequence: int


class Place(NamedTuple):
    """A slab in use: where its data begins in the pool, and the generation of this use."""

    offset: int
    generation: int


class _Extent(NamedTuple):
    """All bytes of a slab: padding and head from `start`, data from `offset`."""

    start: int
    offset: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.offset


class _Held(msgspec.Struct):
    extent: _Extent
    generation: int
    owner: SlabOwner | None = None
    pinned: bool = False
    over: bool = False
    """It was given back, and only its pin or a reader keeps it."""


class SlabAllocator:
    """The slabs of one pool.

    Parameters
    ----------
    capacity
        Bytes of the pool, its head included.
    first_generation
        Generation of the first slab taken; greater than 0, which stands for a free slab.
    back
        Called before the pool is used up to an offset that it was not used to before; returns
        whether there is memory for it.
    revoke
        Called with places that were given back: no reader may begin to read them from then on.
        Returns what tells whether one that began before still reads a generation.
    begin
        Where the first slab may begin.
    """

    def __init__(
        self,
        capacity: int,
        first_generation: int,
        back: Callable[[int], bool],
        revoke: Callable[[Sequence[Place]], Callable[[int], bool]] = lambda _: _nobody_reads,
        begin: int = HEAD_BYTES,
    ) -> None:
        self._next_generation = first_generation
        self._back = back
        self._revoke = revoke
        self._backed = begin
        # Stretches that belong to no slab, by offset.
        self._blank = [(begin, capacity)] if capacity > begin else []
        self._free_extents: dict[int, list[_Extent]] = {}
        self._held: dict[int, _Held] = {}
        # Given back, but still pinned or read.
        self._over: list[Place] = []
        # Heaps by source and epoch. An entry counts only while its slab still has that owner.
        self._owned: dict[tuple[str, int], list[tuple[int, Place]]] = {}
        self.bytes_in_use = 0

    def __len__(self) -> int:
        """Slabs in use."""
        return len(self._held)

    def take(
        self, length: int, owner: SlabOwner | None = None, *, pinned: bool = False
    ) -> Place | None:
        """Find a slab for `length` bytes; None where there is none.

        Without an owner it is the taker's to give back, or to `assign` later; `pinned`: and to
        `unpin`, too.
        """
        extent = self._find_room(length)
        if extent is None and self._over:
            self._free([])
            extent = self._find_room(length)
        if not extent:
            return None
        place = Place(extent.offset, self._next_generation)
        self._next_generation += 1
        self._held[place.offset] = _Held(extent, place.generation, pinned=pinned)
        self.bytes_in_use += extent.end - extent.start
        if owner is not None:
            self.assign(place, owner)
        return place

    def _find_room(self, length: int) -> _Extent | None:
        size = rounded_size(length)
        return (
            self._reuse(size)
            or self._carve(size)
            or self._reuse_larger(size)
            or (self._carve(size) if self._merge() else None)
        )

    def assign(self, place: Place, owner: SlabOwner) -> bool:
        """Let the end of a message free a slab; False where it isn't in use any more."""
        held = self._find(place)
        if held is None:
            return False
        held.owner = owner
        heap = self._owned.setdefault((owner.source, owner.epoch), [])
        heapq.heappush(heap, (owner.sequence, place))
        return True

    def give_back(self, *places: Place) -> int:
        """Make slabs free; returns how many of them were not before, whoever has them now."""
        over = []
        for place in places:
            held = self._find(place)
            if held is not None and not held.over:
                held.over = True
                over.append(place)
        self._free(over)
        return len(over)

    def unpin(self, place: Place) -> None:
        """Nobody looks at a slab any more: it may be used again once it was given back."""
        held = self._find(place)
        if held is not None:
            held.pinned = False
            if held.over:
                self._free([])

    def _free(self, places: Sequence[Place]) -> None:
        """Let slabs be used again that are over, these and former ones, as far as they can be."""
        over = [*self._over, *places]
        if not over:
            return
        is_read = self._revoke(places)
        self._over = []
        for place in over:
            held = self._held[place.offset]
            if held.pinned or is_read(place.generation):
                self._over.append(place)
                continue
            del self._held[place.offset]
            self.bytes_in_use -= held.extent.end - held.extent.start
            self._free_extents.setdefault(held.extent.size, []).append(held.extent)

    def reclaim(self, source: str, epoch: int, frontier: int) -> list[int]:
        """Make free what belongs to messages below a source's frontier; return the offsets."""
        heap = self._owned.get((source, epoch), [])
        passed = []
        while heap and heap[0][0] < frontier:
            sequence, place = heapq.heappop(heap)
            held = self._find(place)
            if held is None or held.over or held.owner != (source, epoch, sequence):
                continue  # given back by hand, or assigned to another message, or twice to this
            held.over = True
            passed.append(place)
        self._free(passed)
        if not heap:
            self._owned.pop((source, epoch), None)
        return [place.offset for place in passed]

    def lives(self) -> list[tuple[str, int]]:
        """Source and epoch of all owners: those whose frontiers matter to this pool."""
        return list(self._owned)

    def _find(self, place: Place) -> _Held | None:
        held = self._held.get(place.offset)
        return held if held is not None and held.generation == place.generation else None

    def _reuse(self, size: int) -> _Extent | None:
        extents = self._free_extents.get(size)
        return extents.pop() if extents else None

    def _reuse_larger(self, size: int) -> _Extent | None:
        larger = (self._reuse(step) for step in _steps_above(size))
        return next((extent for extent in larger if extent), None)

    def _carve(self, size: int) -> _Extent | None:
        """Make a new slab, as far down as possible: what was used before has memory."""
        alignment = PAGE_BYTES if size >= PAGE_ALIGNED_BYTES else HEAD_BYTES
        for index, (start, stop) in enumerate(self._blank):
            offset = _round_up(start + HEAD_BYTES, alignment)
            end = offset + size
            if end > stop:
                continue
            if end > self._backed:
                if not self._back(end):
                    return None
                self._backed = end
            self._blank[index : index + 1] = [(end, stop)] if end < stop else []
            return _Extent(start, offset, end)
        return None

    def _merge(self) -> bool:
        """Undo all free slabs, so that neighbours make room for larger ones; False: none free.

        It is what lets a pool follow when payloads change their size for good.
        """
        stretches = sorted(
            [(free.start, free.end) for extents in self._free_extents.values() for free in extents]
            + self._blank
        )
        if len(stretches) == len(self._blank):
            return False
        self._free_extents.clear()
        self._blank = []
        for start, stop in stretches:
            touches = self._blank and self._blank[-1][1] == start
            self._blank.append((self._blank.pop()[0] if touches else start, stop))
        return True


def rounded_size(length: int) -> int:
    """Bytes of data in the slab for a payload of `length` bytes."""
    step = max(HEAD_BYTES, (1 << max(length - 1, 1).bit_length() - 1) // STEPS)
    return _round_up(max(length, 1), step)


def _nobody_reads(generation: int) -> bool:
    return False


def _steps_above(size: int) -> Iterator[int]:
    step = rounded_size(size + 1)
    while step <= SPARE * size:
        yield step
        step = rounded_size(step + 1)


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
