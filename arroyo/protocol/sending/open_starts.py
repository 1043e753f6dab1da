"""`OpenStarts`: the Starts of open runs, which whoever comes up later has to hear first. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from arroyo.codec import Kind
from arroyo.protocol.values import bounded_table as recent
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.bounded_table import drop_oldest

_Key: TypeAlias = tuple[str, str, int]


class OpenStarts:
    """The Starts that have left by one way, and not their Stops."""

    def __init__(self) -> None:
        self._loads: dict[_Key, OutgoingBatch] = {}

    def __iter__(self) -> Iterator[OutgoingBatch]:
        return iter(self._loads.values())

    def note(self, load: OutgoingBatch) -> None:
        """A Start or Stop leaves, or anything else."""
        header = load.header
        key = header.source, header.run, header.path
        if header.kind == Kind.STOP:
            self._loads.pop(key, None)
        elif header.kind == Kind.START:
            # The runs of one life of a source follow each other: the Stop of one before was missed.
            way = header.source, header.epoch, header.path
            for other in [each for each in self._loads if each != key]:
                before = self._loads[other].header
                same_way = (before.source, before.epoch, before.path) == way
                if same_way and before.base < header.base:
                    del self._loads[other]
            self._loads[key] = load
            same = [each for each in self._loads if each[0] == header.source]
            drop_oldest(self._loads, same, recent.OPEN_RUNS)
