"""`SlabAllocator`: divides a pool into slabs, and knows when each is free again. PURE.

A pool is a range of bytes: a head, then slabs, each with a head right before its data. Rules:
- Sizes are rounded to eight steps per doubling, so payloads of about one size share slabs.
- The slab that was given back last is taken first: its memory is in caches and page tables.
- Every take has a greater generation than all before it in the pool. A reference holds the
  generation, so it is known to be stale once its slab was given back.
- A slab with an owner is free when the frontier of the owner's source has passed it.
- A slab that was given back is not used again while it is pinned, or while a reader has a lease on
  it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

HEAD_BYTES = 64
"""Size of the heads of pool and slabs; data begins at a multiple of it."""
PAGE_BYTES = 4096
PAGE_ALIGNED_BYTES = 64 * 1024
"""The data of slabs from this size on begins at a page."""
STEPS = 8
"""Sizes per doubling: rounding wastes at most an eighth of a slab."""
SPARE = 2
"""A slab may be taken for a payload that needs at least this fraction (1/SPARE) of it."""


class SlabOwner(NamedTuple):
    """The message with which a slab is freed."""

    source: str
    epoch: int
    sequence: int


class SlabId(NamedTuple):
    """A slab in use: offset of its data in the pool, and generation of this use."""

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
    given_back: bool = False
    """It was given back, but is pinned or read."""


class SlabAllocator:
    """The slabs of one pool.

    Parameters
    ----------
    capacity
        Bytes of the pool, its head included.
    first_generation
        Generation of the first slab taken; greater than 0, which stands for a free slab.
    back
        Called before the pool is used up to a new offset; returns whether there is memory up to
        there.
    revoke
        Called with slabs that were given back: from then on no reader may begin to read them.
        Returns a function that tells whether an earlier reader still reads a generation.
    begin
        Offset of the first slab.
    """

    def __init__(
        self,
        capacity: int,
        first_generation: int,
        back: Callable[[int], bool],
        revoke: Callable[[Sequence[SlabId]], Callable[[int], bool]] = lambda _: _nobody_reads,
        begin: int = HEAD_BYTES,
    ) -> None:
        self._next_generation = first_generation
        self._back = back
        self._revoke = revoke
        self._backed = begin
        # Ranges that belong to no slab, by offset.
        self._blank = [(begin, capacity)] if capacity > begin else []
        self._free_extents: dict[int, list[_Extent]] = {}
        self._held: dict[int, _Held] = {}
        # Given back, but pinned or read.
        self._given_back: list[SlabId] = []
        # Heaps by source and epoch. An entry counts only while its slab still has that owner.
        self._owned: dict[tuple[str, int], list[tuple[int, SlabId]]] = {}

    def __len__(self) -> int:
        """Slabs in use."""
        return len(self._held)

    def take(
        self, length: int, owner: SlabOwner | None = None, *, pinned: bool = False
    ) -> SlabId | None:
        """Take a slab for `length` bytes; None if there is none.

        Without an owner the caller has to give it back, or to `assign` it later; with `pinned` also
        to `unpin` it.
        """
        extent = self._find_room(length)
        if extent is None and self._given_back:
            self._free([])
            extent = self._find_room(length)
        if not extent:
            return None
        slab_id = SlabId(extent.offset, self._next_generation)
        self._next_generation += 1
        self._held[slab_id.offset] = _Held(extent, slab_id.generation, pinned=pinned)
        if owner is not None:
            self.assign(slab_id, owner)
        return slab_id

    def _find_room(self, length: int) -> _Extent | None:
        size = rounded_size(length)
        return (
            self._reuse(size)
            or self._carve(size)
            or self._reuse_larger(size)
            or (self._carve(size) if self._merge() else None)
        )

    def assign(self, slab_id: SlabId, owner: SlabOwner) -> bool:
        """Free a slab with a message; False if the slab is not in use any more."""
        held = self._find(slab_id)
        if held is None:
            return False
        held.owner = owner
        heap = self._owned.setdefault((owner.source, owner.epoch), [])
        heapq.heappush(heap, (owner.sequence, slab_id))
        return True

    def give_back(self, *slab_ids: SlabId) -> int:
        """Free slabs; return how many were in use. One that was taken again since is left alone."""
        given_back = []
        for slab_id in slab_ids:
            held = self._find(slab_id)
            if held is not None and not held.given_back:
                held.given_back = True
                given_back.append(slab_id)
        self._free(given_back)
        return len(given_back)

    def unpin(self, slab_id: SlabId) -> None:
        """Note that a slab has no views any more: it can be used again once it was given back."""
        held = self._find(slab_id)
        if held is not None:
            held.pinned = False
            if held.given_back:
                self._free([])

    def _free(self, slab_ids: Sequence[SlabId]) -> None:
        """Make slabs usable that were given back, now or before, unless they are pinned or read."""
        waiting = [*self._given_back, *slab_ids]
        if not waiting:
            return
        is_read = self._revoke(slab_ids)
        self._given_back = []
        for slab_id in waiting:
            held = self._held[slab_id.offset]
            if held.pinned or is_read(slab_id.generation):
                self._given_back.append(slab_id)
                continue
            del self._held[slab_id.offset]
            self._free_extents.setdefault(held.extent.size, []).append(held.extent)

    def reclaim(self, source: str, epoch: int, frontier: int) -> list[int]:
        """Free the slabs of messages below a source's frontier; return their offsets."""
        heap = self._owned.get((source, epoch), [])
        passed = []
        while heap and heap[0][0] < frontier:
            sequence, slab_id = heapq.heappop(heap)
            held = self._find(slab_id)
            if held is None or held.given_back or held.owner != (source, epoch, sequence):
                continue  # given back, assigned to another message, or assigned to this one twice
            held.given_back = True
            passed.append(slab_id)
        self._free(passed)
        if not heap:
            self._owned.pop((source, epoch), None)
        return [slab_id.offset for slab_id in passed]

    def owner_epochs(self) -> list[tuple[str, int]]:
        """Return source and epoch of all owners, whose frontiers matter to this pool."""
        return list(self._owned)

    def _find(self, slab_id: SlabId) -> _Held | None:
        held = self._held.get(slab_id.offset)
        return held if held is not None and held.generation == slab_id.generation else None

    def _reuse(self, size: int) -> _Extent | None:
        extents = self._free_extents.get(size)
        return extents.pop() if extents else None

    def _reuse_larger(self, size: int) -> _Extent | None:
        larger = (self._reuse(step) for step in _steps_above(size))
        return next((extent for extent in larger if extent), None)

    def _carve(self, size: int) -> _Extent | None:
        """Make a new slab, as low as possible: bytes that were used before have memory."""
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
        """Dissolve all free slabs, so that adjacent ones make larger ones; False: none is free.

        So a pool adapts when the size of payloads changes.
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
    """Return the data bytes of a slab for a payload of `length` bytes."""
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
