"""`OpenStarts`: the Starts of open runs, which a replica that comes up later gets first. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from arroyo.codec import Kind
from arroyo.protocol.values import bounded_table
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.bounded_table import drop_oldest

_Key: TypeAlias = tuple[str, str, int]


class OpenStarts:
    """The Starts that have left one way, and whose Stops have not."""

    def __init__(self) -> None:
        self._batches: dict[_Key, OutgoingBatch] = {}

    def __iter__(self) -> Iterator[OutgoingBatch]:
        return iter(self._batches.values())

    def note(self, batch: OutgoingBatch) -> None:
        """Take note of a batch that leaves."""
        header = batch.header
        key = header.source, header.run, header.path
        if header.kind == Kind.STOP:
            self._batches.pop(key, None)
        elif header.kind == Kind.START:
            # The runs of one life of a source follow each other: the Stop of one before was missed.
            way = header.source, header.epoch, header.path
            for other in [each for each in self._batches if each != key]:
                before = self._batches[other].header
                same_way = (before.source, before.epoch, before.path) == way
                if same_way and before.base < header.base:
                    del self._batches[other]
            self._batches[key] = batch
            same = [each for each in self._batches if each[0] == header.source]
            drop_oldest(self._batches, same, bounded_table.OPEN_RUNS)
