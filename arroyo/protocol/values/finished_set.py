"""`FinishedSet`: what a terminal stage has done, so that nothing is done twice. PURE.

One per source, epoch and path. Everything below the source's frontier is done by definition and
takes no memory.
"""

from __future__ import annotations

from collections.abc import Iterable

from arroyo.codec import Tombstone
from arroyo.messages import Fragment

from .batches import Position
from .fragments import FragmentSet
from .ranges import RangeSet


class FinishedSet:
    """The messages of one path that this replica has finished."""

    def __init__(self) -> None:
        self.frontier = 0
        self._whole = RangeSet()
        self._parts: dict[int, FragmentSet] = {}

    def advance(self, frontier: int) -> None:
        """Everything below `frontier` is finished on all paths."""
        if frontier > self.frontier:
            self.frontier = frontier
            self._whole.discard_below(frontier)
            if self._parts:
                for number in [number for number in self._parts if number < frontier]:
                    del self._parts[number]

    def covers(self, sequence: int, fragment: Fragment) -> bool:
        """Whether it was finished before."""
        if sequence < self.frontier or sequence in self._whole:
            return True
        return bool(fragment) and sequence in self._parts and fragment in self._parts[sequence]

    def is_new(self, first: int, end: int) -> bool:
        """Whether no message of a range of whole ones was finished before."""
        return first >= self.frontier and self._whole.missing(first, end) == [(first, end)]

    def add(self, first: int, end: int, fragment: Fragment = ()) -> bool:
        """Note a range of whole messages, or one part; True if a message became complete."""
        if not fragment:
            self._whole.add(max(first, self.frontier), end)
            return True
        if first < self.frontier or first in self._whole:
            return False
        parts = self._parts.setdefault(first, FragmentSet())
        parts.add(fragment)
        if parts.complete:
            del self._parts[first]
            self._whole.add(first, end)
            return True
        return False

    def add_positions(self, positions: Iterable[Position]) -> None:
        """Note whole messages and parts."""
        for sequence, fragment in positions:
            self.add(sequence, sequence + 1, fragment)

    def add_tombstones(self, stones: Iterable[Tombstone]) -> None:
        """Note messages that ended on their way."""
        for first, end, _, fragment in stones:
            self.add(first, end, fragment)

    def above_frontier(self) -> tuple[tuple[tuple[int, int], ...], tuple[Position, ...]]:
        """Return what is finished above the frontier: whole messages as ranges, and parts."""
        parts = [(number, part) for number, seen in self._parts.items() for part in seen]
        return tuple(self._whole), tuple(parts)

    def parts_of(self, sequence: int) -> set[Fragment]:
        """Return the finished parts of a message that is not finished whole."""
        parts = self._parts.get(sequence)
        return set() if parts is None else set(parts)

    def first_gap(self) -> int:
        """Return the first sequence that is not finished."""
        return self._whole.first_gap(self.frontier)

    def missing(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges between `first` and `end` that are not finished."""
        return self._whole.missing(max(first, self.frontier), end)
