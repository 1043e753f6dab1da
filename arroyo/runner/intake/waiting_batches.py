"""`WaitingBatches`: what a listener handed over and the main thread has not taken yet."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from arroyo.codec import Encoded, Kind

from .window_batch import WindowBatch, WindowRun


class DroppedEvent(NamedTuple):
    """An event that was given up; `is_first`: it was of the run that the first batch is of."""

    run: WindowRun
    item: Encoded
    is_first: bool


class WaitingBatches:
    """Batches in order, the oldest first."""

    def __init__(self) -> None:
        self._batches: deque[WindowBatch] = deque()
        self.open: WindowBatch | None = None
        """The one that further events join."""
        self.taken = self._taken_size = 0
        """Events that were taken, and their bytes."""

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def first(self) -> WindowBatch | None:
        """The oldest batch."""
        return self._batches[0] if self._batches else None

    @property
    def first_is_open(self) -> bool:
        """Whether further events join the oldest batch."""
        return self.open is not None and self._batches[0] is self.open

    @property
    def messages(self) -> int:
        """How many messages wait."""
        return sum(len(batch.items) for batch in self._batches)

    @property
    def size(self) -> int:
        """Their bytes, as far as they are counted."""
        return sum(batch.size for batch in self._batches)

    @property
    def bytes_in(self) -> int:
        """Bytes of all that were handed over, as far as they are counted."""
        return self._taken_size + self.size

    @property
    def events_of_first_run(self) -> int | None:
        """How many events come before the first Start or Stop; None: neither is there."""
        count = 0
        for batch in self._batches:
            if batch.kind is not Kind.EVENTS:
                return count
            count += len(batch.items)
        return None

    def begin(self, batch: WindowBatch) -> WindowBatch:
        """Add a batch behind the others, which takes all events from here on."""
        self.open = batch if batch.kind is Kind.EVENTS else None
        self._batches.append(batch)
        return batch

    def close_frames(self) -> bool:
        """Have no more large messages join those that wait; return whether any could have."""
        could = self.open is not None and self.open.body is None
        if could:
            self.open = None
        return could

    def pop(self, count: int) -> WindowBatch:
        """Take out so many messages of the oldest batch, which nothing joins any more."""
        batch = self._batches.popleft()
        if batch is self.open:
            self.open = None
        if len(batch.items) > count:
            batch, rest = batch.split(count)
            self._batches.appendleft(rest)
        if batch.kind is Kind.EVENTS:
            self.taken += len(batch.items)
            self._taken_size += batch.size
        return batch

    def drop_oldest(self) -> DroppedEvent | None:
        """Give up the oldest event; None where there is none."""
        is_first = True
        for batch in self._batches:
            if batch.kind is Kind.EVENTS:
                dropped = DroppedEvent(batch.run, batch.drop_first(), is_first)
                if not batch.items:
                    self._batches.remove(batch)
                    self.open = None if batch is self.open else self.open
                return dropped
            is_first = False
        return None
