"""`SourceOrder`: messages back into the order of their source. PURE.

PROTOCOL 15, 23: there is a buffer for each source, epoch and path. What comes early is held until
everything before it has come, has ended on the way, or is known to be finished; the source's window
bounds how much that can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from arroyo.codec import Batch
from arroyo.messages import Fragment
from arroyo.protocol.values.batches import count_of, positions_of
from arroyo.protocol.values.bounded_table import BoundedTable
from arroyo.protocol.values.deliveries import Work
from arroyo.protocol.values.fragments import FragmentSet
from arroyo.protocol.values.ranges import RangeSet

T = TypeVar("T")


class OrderBuffer(Generic[T]):
    """Holds early messages; `next` is the first sequence that has not gone on."""

    def __init__(self) -> None:
        self.next = 0
        self._held: dict[int, tuple[FragmentSet, dict[Fragment, T]]] = {}
        self._skipped = RangeSet()

    def push(self, sequence: int, fragment: Fragment, item: T) -> list[T]:
        """Take a message and return what may go on now, in order; nothing if it is known."""
        if sequence == self.next and not fragment and not self._held and not self._skipped:
            self.next += 1
            return [item]
        if sequence < self.next or sequence in self._skipped:
            return []
        parts, items = self._held.setdefault(sequence, (FragmentSet(), {}))
        if parts.add(fragment):
            items[fragment] = item
        return self._release()

    def skip(self, first: int, end: int, fragment: Fragment = ()) -> list[T]:
        """Note that nothing comes for whole messages, or a part; return what may go on now."""
        if not fragment:
            self._skipped.add(max(first, self.next), end)
        elif first >= self.next:
            self._held.setdefault(first, (FragmentSet(), {}))[0].add(fragment)
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
                if not parts.complete and self.next not in self._skipped:
                    break
                del self._held[self.next]
                released += [item for _, item in sorted(items.items())]
                self.next += 1
            elif self.next in self._skipped:
                self.next = min((self._skipped.first_gap(self.next), *self._held))
            else:
                break
        self._skipped.discard_below(self.next)
        return released


class SourceOrder:
    """Restores the order of each source.

    `passes_again`: whether what went on before, and was lost below, has to go the way again.
    """

    def __init__(self, *, passes_again: bool) -> None:
        self._passes_again = passes_again
        self._buffers: BoundedTable[tuple[str, int, int], OrderBuffer[Work]] = BoundedTable(
            OrderBuffer
        )

    def restore(self, batch: Batch, work: Sequence[Work]) -> list[Work]:
        """Return what may be worked on now, in order; `work`: what is new of a batch."""
        buffer = self._buffers[batch.source, batch.epoch, batch.path]
        # A run begins when the one before is quiet: what is below its base is finished.
        start = max(batch.frontier, batch.base)
        released = buffer.skip_to(start)
        if len(work) < count_of(batch):
            # What is not new may be so to the buffer: a life before has finished it.
            new = {(sequence, fragment) for sequence, fragment, _ in work}
            for sequence, fragment in positions_of(batch):
                if (sequence, fragment) not in new:
                    released += buffer.skip(sequence, sequence + 1, fragment)
        for each in work:
            if self._passes_again and start <= each[0] < buffer.next:
                released.append(each)
            else:
                released += buffer.push(each[0], each[1], each)
        for stone in batch.tombstones:
            released += buffer.skip(stone.first, stone.end, stone.fragment)
        return released
