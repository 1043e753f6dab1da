"""`RangeSet`: which sequences are done, as few numbers as possible.

Acknowledgements come nearly in order, so a set of a million sequences is usually one or two
ranges. PURE.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """A set of whole numbers, kept as sorted ranges (first, end) that neither touch nor overlap."""

    __slots__ = ("_ends", "_firsts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._ends: list[int] = []
        for first, end in ranges:
            self.add(first, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._ends, strict=True))

    def __len__(self) -> int:
        return sum(self._ends) - sum(self._firsts)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._firsts, number) - 1
        return index >= 0 and number < self._ends[index]

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"

    def add(self, first: int, end: int) -> None:
        """Add the numbers from `first` up to, and without, `end`."""
        firsts, ends = self._firsts, self._ends
        if ends and first == ends[-1]:
            # What comes in order only moves the last end.
            ends[-1] = max(end, first)
            return
        if first >= end:
            return
        low = bisect_left(ends, first)
        high = bisect_right(firsts, end)
        if low < high:
            first = min(first, firsts[low])
            end = max(end, ends[high - 1])
        firsts[low:high] = [first]
        ends[low:high] = [end]

    def missing(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges between `first` and `end` that are not in the set, in order."""
        gaps = []
        index = bisect_right(self._ends, first)
        while first < end:
            if index == len(self._firsts) or self._firsts[index] >= end:
                gaps.append((first, end))
                break
            if first < self._firsts[index]:
                gaps.append((first, self._firsts[index]))
            first = self._ends[index]
            index += 1
        return gaps

    def common(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges between `first` and `end` that are in the set, in order."""
        index = bisect_right(self._ends, first)
        pairs = zip(self._firsts[index:], self._ends[index:], strict=True)
        cut = ((max(low, first), min(high, end)) for low, high in pairs)
        return list(itertools.takewhile(lambda pair: pair[0] < end, cut))

    def discard_below(self, number: int) -> None:
        """Forget everything below `number`."""
        index = bisect_right(self._ends, number)
        del self._firsts[:index], self._ends[:index]
        if self._firsts and self._firsts[0] < number:
            self._firsts[0] = number

    def first_gap(self, number: int) -> int:
        """Return the smallest number from `number` on that is not in the set."""
        index = bisect_right(self._firsts, number) - 1
        return max(number, self._ends[index]) if index >= 0 else number
