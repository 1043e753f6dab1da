"""`Deduplication`: what has come to a replica at the end of paths, so that nothing is done twice.

PROTOCOL 15. Source, epoch and path of a batch are the *way* that it came. PURE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from arroyo.codec import Batch

from .batches import Position, positions_of
from .bounded_table import BoundedTable
from .deliveries import Work
from .finished_set import FinishedSet

Way: TypeAlias = tuple[str, int, int]


def way_of(batch: Batch) -> Way:
    """Return source, epoch and path of a batch."""
    return batch.source, batch.epoch, batch.path


class Deduplication(BoundedTable[Way, FinishedSet]):
    """Sets of messages by the way that they came."""

    def __init__(self) -> None:
        super().__init__(FinishedSet)
        self.redelivered = 0
        """Messages that were known before they came again."""

    def of(self, batch: Batch) -> FinishedSet:
        """Return the set of a batch's way; everything below the frontier is in it."""
        known = self[batch.source, batch.epoch, batch.path]
        known.advance(batch.frontier)
        return known

    def select_new(self, batch: Batch, work: Sequence[Work]) -> Sequence[Work]:
        """Leave out what is known."""
        known = self.of(batch)
        if not batch.fragments and all(known.is_new(*span) for span in batch.ranges):
            return work
        new = [each for each in work if not known.covers(each[0], each[1])]
        self.redelivered += len(work) - len(new)
        return new

    def left_out(self, batch: Batch, work: Sequence[Work]) -> list[Position]:
        """Return what is known of a batch and was not worked on: it came again.

        What is neither waits for its turn.
        """
        known = self.of(batch)
        worked = {(sequence, fragment) for sequence, fragment, _ in work}
        positions = positions_of(batch)
        return [each for each in positions if each not in worked and known.covers(*each)]

    def covers(self, batch: Batch) -> bool:
        """Whether all messages of a batch are known."""
        known = self.of(batch)
        return all(known.covers(*position) for position in positions_of(batch))
