"""`FragmentSet`: which parts of a message that was split on its way have come. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from arroyo.messages import Fragment


class FragmentSet:
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
