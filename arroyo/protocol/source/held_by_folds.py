"""`HeldByFolds`: what folds hold of one path, as their acknowledgements say. PURE.

A message that a fold holds is not finished, but it need not be sent again while that life of the
fold goes on, and it keeps no run from being closed.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from arroyo.codec import Ack
from arroyo.messages import Fragment
from arroyo.protocol.receiving.order import Parts
from arroyo.protocol.values.finished_set import FinishedSet
from arroyo.protocol.values.ranges import RangeSet


class _Holder(msgspec.Struct):
    """One life of a fold's replica, and what it holds."""

    incarnation: int
    whole: RangeSet = msgspec.field(default_factory=RangeSet)
    parts: dict[int, set[Fragment]] = {}


class HeldByFolds:
    """What is held of one path, by the replica that holds it."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str, int], _Holder] = {}

    def add(self, ack: Ack) -> None:
        """Note what a fold says that it holds."""
        name = (ack.stage, ack.replica)
        holder = self._holders.get(name)
        if holder is None or holder.incarnation < ack.taken:
            holder = self._holders[name] = _Holder(ack.taken)
        elif holder.incarnation > ack.taken:
            return  # said by a life that has ended
        for first, end in ack.ranges:
            holder.whole.add(first, end)
        for sequence, fragment in ack.fragments:
            holder.parts.setdefault(sequence, set()).add(fragment)

    def forget_former(self, stage: str, replica: int, incarnation: int) -> None:
        """A new life of a replica is there: what the former ones held is gone."""
        holder = self._holders.get((stage, replica))
        if holder is None or holder.incarnation < incarnation:
            # Kept though it holds nothing yet: what the former said may still be on its way.
            self._holders[stage, replica] = _Holder(incarnation)

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
        """Return what of a range is neither finished nor held, as ranges."""
        gaps = finished.missing(first, end)
        if not gaps or not self._holders:
            return gaps
        whole = [holder.whole for holder in self._holders.values()]
        for held in (*whole, RangeSet(self._joined_parts(finished))):
            gaps = [rest for gap in gaps for rest in held.missing(*gap)]
        return gaps

    def _joined_parts(self, finished: FinishedSet) -> Iterator[tuple[int, int]]:
        """Messages of which each part is either finished or held by somebody."""
        parts: dict[int, set[Fragment]] = {}
        for holder in self._holders.values():
            for sequence, held in holder.parts.items():
                parts.setdefault(sequence, set()).update(held)
        for sequence, held in parts.items():
            seen = Parts()
            for fragment in held | finished.parts_of(sequence):
                seen.add(fragment)
            if seen.complete:
                yield sequence, sequence + 1
