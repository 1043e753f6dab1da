"""`Reorder`: messages back into the order of their source. PURE.

One per source, epoch and path. What comes early is held until everything before it has come or
is known to be finished; the source's window bounds how much that can be.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Generic, TypeVar

from arroyo.messages import Fragment

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


class Reorder(Generic[T]):
    """Holds early messages; `start` is the first sequence that is not finished."""

    def __init__(self, start: int) -> None:
        self.next = start
        self._held: dict[int, tuple[Parts, dict[Fragment, T | None]]] = {}

    @property
    def held(self) -> int:
        """Sequences that wait."""
        return len(self._held)

    def knows(self, sequence: int, fragment: Fragment) -> bool:
        """Whether this message was passed on or is held already."""
        if sequence < self.next:
            return True
        return sequence in self._held and fragment in self._held[sequence][0]

    def push(self, sequence: int, fragment: Fragment, item: T | None) -> list[T]:
        """Take a message (None: a tombstone) and return what may go on now, in order."""
        if not fragment and sequence == self.next and not self._held:
            self.next += 1
            return [] if item is None else [item]
        if self.knows(sequence, fragment):
            return self._release()
        parts, items = self._held.setdefault(sequence, (Parts(), {}))
        parts.add(fragment)
        items[fragment] = item
        return self._release()

    def mark(self, sequence: int) -> None:
        """Note that nothing more than the place of `sequence` is needed; releases nothing yet."""
        if not self.knows(sequence, ()):
            parts = Parts()
            parts.add(())
            self._held[sequence] = (parts, {})

    def skip_to(self, frontier: int) -> list[T]:
        """Everything below `frontier` is finished: return what may go on because of it."""
        released: list[T] = []
        if frontier <= self.next:
            return released
        for sequence in sorted(number for number in self._held if number < frontier):
            released += self._take(sequence)
        self.next = frontier
        return released + self._release()

    def _release(self) -> list[T]:
        released: list[T] = []
        while self.next in self._held and self._held[self.next][0].complete:
            released += self._take(self.next)
            self.next += 1
        return released

    def _take(self, sequence: int) -> list[T]:
        _, items = self._held.pop(sequence)
        return [item for _, item in sorted(items.items()) if item is not None]
