"""`HeldByFolds`: messages of one path that folds hold, as their acknowledgements say. PURE.

PROTOCOL 53: a message that a fold holds is not finished, but it is not sent again while that life
of the fold goes on, and a Stop that waits for it can be announced.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from arroyo.codec import Ack
from arroyo.messages import Fragment
from arroyo.protocol.values.finished_set import FinishedSet
from arroyo.protocol.values.fragments import FragmentSet
from arroyo.protocol.values.ranges import RangeSet


class _Holder(msgspec.Struct):
    """One life of a fold's replica, and what it holds."""

    incarnation: int
    whole: RangeSet = msgspec.field(default_factory=RangeSet)
    parts: dict[int, set[Fragment]] = {}


class HeldByFolds:
    """What each replica of a fold holds."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str, int], _Holder] = {}

    def add(self, ack: Ack) -> bool:
        """Note what a fold says that it holds; False where that life of it has ended."""
        name = (ack.stage, ack.replica)
        holder = self._holders.get(name)
        if holder is None or holder.incarnation < ack.taken:
            holder = self._holders[name] = _Holder(ack.taken)
        elif holder.incarnation > ack.taken:
            return False
        for first, end in ack.ranges:
            holder.whole.add(first, end)
        for sequence, fragment in ack.fragments:
            holder.parts.setdefault(sequence, set()).add(fragment)
        return True

    def forget_former(self, stage: str, replica: int, incarnation: int) -> bool:
        """Take up a new life of a replica; returns whether its former ones held anything."""
        holder = self._holders.get((stage, replica))
        if holder is not None and holder.incarnation >= incarnation:
            return False
        # Kept though it holds nothing yet: acknowledgements of the former may be on their way.
        self._holders[stage, replica] = _Holder(incarnation)
        return holder is not None and bool(holder.whole or holder.parts)

    @property
    def holders(self) -> list[tuple[str, int, int]]:
        """Stage, replica and incarnation of those that hold anything."""
        return [
            (*name, holder.incarnation)
            for name, holder in self._holders.items()
            if holder.whole or holder.parts
        ]

    def advance(self, frontier: int) -> None:
        """Everything below `frontier` is finished."""
        for holder in self._holders.values():
            holder.whole.discard_below(frontier)
            for sequence in [number for number in holder.parts if number < frontier]:
                del holder.parts[sequence]

    def missing(self, finished: FinishedSet, first: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of a range that are neither finished nor held."""
        gaps = finished.missing(first, end)
        if not gaps or not self._holders:
            return gaps
        whole = [holder.whole for holder in self._holders.values()]
        for held in (*whole, RangeSet(self._joined_parts(finished))):
            gaps = [rest for gap in gaps for rest in held.missing(*gap)]
        return gaps

    def _joined_parts(self, finished: FinishedSet) -> Iterator[tuple[int, int]]:
        """Yield the messages of which every part is either finished or held."""
        parts: dict[int, set[Fragment]] = {}
        for holder in self._holders.values():
            for sequence, held in holder.parts.items():
                parts.setdefault(sequence, set()).update(held)
        for sequence, held in parts.items():
            seen = FragmentSet()
            for fragment in held | finished.parts_of(sequence):
                seen.add(fragment)
            if seen.complete:
                yield sequence, sequence + 1
