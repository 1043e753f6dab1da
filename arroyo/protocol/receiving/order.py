"""`OrderBuffer`: messages back into the order of their source. PURE.

One per source, epoch and path. What comes early is held until everything before it has come, has
ended on the way, or is known to be finished; the source's window bounds how much that can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Generic, TypeVar

from arroyo.messages import Fragment
from arroyo.protocol.values.ranges import RangeSet

T = TypeVar("T")


class Parts:
    """Which parts of a split message have come; complete when they make up the whole.

    Each part weighs one over the product of the counts on its way, so the weights of all parts
    sum to one, however deep the splits nest.
    """

    __slots__ = ("_seen", "_weight")

    def __init__(self) -> None:
        self._seen: set[Fragment] = set()
        self._weight = Fraction(0)

    def __contains__(self, fragment: Fragment) -> bool:
        return fragment in self._seen

    def __iter__(self) -> Iterator[Fragment]:
        return iter(self._seen)

    def add(self, fragment: Fragment) -> bool:
        """Note a part; True if it is new."""
        if fragment in self._seen:
            return False
        self._seen.add(fragment)
        weight = Fraction(1)
        for _, count in fragment:
            weight /= max(count, 1)
        self._weight += weight
        return True

    @property
    def complete(self) -> bool:
        """Whether no part is missing."""
        return self._weight >= 1


class OrderBuffer(Generic[T]):
    """Holds early messages; `next` is the first sequence that has not gone on."""

    def __init__(self) -> None:
        self.next = 0
        self._held: dict[int, tuple[Parts, dict[Fragment, T]]] = {}
        self._buried = RangeSet()

    @property
    def held(self) -> int:
        """Sequences that wait."""
        return len(self._held)

    def push(self, sequence: int, fragment: Fragment, item: T) -> list[T]:
        """Take a message and return what may go on now, in order; nothing if it is known."""
        if sequence == self.next and not fragment and not self._held and not self._buried:
            self.next += 1
            return [item]
        if sequence < self.next or sequence in self._buried:
            return []
        parts, items = self._held.setdefault(sequence, (Parts(), {}))
        if parts.add(fragment):
            items[fragment] = item
        return self._release()

    def bury(self, first: int, end: int, fragment: Fragment = ()) -> list[T]:
        """Note that nothing comes for whole messages, or a part; return what may go on now."""
        if not fragment:
            self._buried.add(max(first, self.next), end)
        elif first >= self.next:
            self._held.setdefault(first, (Parts(), {}))[0].add(fragment)
        return self._release()

    def skip_to(self, start: int) -> list[T]:
        """Everything below `start` is finished: forget it, and return what may go on now."""
        if start <= self.next:
            return []
        for sequence in [number for number in self._held if number < start]:
            del self._held[sequence]
        self.next = start
        return self._release()

    def _release(self) -> list[T]:
        released: list[T] = []
        while True:
            if self.next in self._held:
                parts, items = self._held[self.next]
                if not parts.complete and self.next not in self._buried:
                    break
                del self._held[self.next]
                released += [item for _, item in sorted(items.items())]
                self.next += 1
            elif self.next in self._buried:
                self.next = min((self._buried.first_gap(self.next), *self._held))
            else:
                break
        self._buried.discard_below(self.next)
        return released
