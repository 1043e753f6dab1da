"""Which offsets of Kafka's partitions may be committed, and where to continue. PURE.

One offset is committed for each partition: that of the first message that the next member with this
partition has to read. All messages before it are finished, or can't be read.

A listener can lose a partition because the servers were away for longer than they remember their
members. Its chain still works on what was read. If it gets the partition back, it continues behind
that, even if another member had the partition meanwhile:

- Nothing is lost: this process has everything up to `PartitionProgress.expected` in flight, and
  commits an offset only when it is finished. What another member has committed is finished, too.
- A committed offset never goes back, so no other member's work is repeated.

If the group's offset is none that could have come about like this (somebody has reset it, or the
topic was deleted with its offsets), the listener begins there, as a new member does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Partition = tuple[str, int]
"""Topic and number."""
Committable = tuple[str, int, int]
"""Topic, partition, and the offset that may be committed."""
NONE = -1001
"""librdkafka's value for no offset: there is none, or the servers decide."""


class PartitionProgress:
    """How far this listener is in one partition. Its offsets only grow.

    The listener sets two of them itself, since a call for each message would cost too much:
    `expected` behind each message that was read, and `handed` to its offset before it is handed
    over. It sets `handed` back if the message was rejected.
    """

    __slots__ = ("committed", "expected", "finished", "handed", "is_ours", "place", "told")

    def __init__(self, place: Partition, committed: int = NONE) -> None:
        self.place = place
        self.is_ours = True
        self.committed = committed
        """The group's offset, as far as this listener knows."""
        self.begin(committed)

    def begin(self, offset: int) -> None:
        """Begin with a message that does not follow the ones before: in a new topic, say."""
        self.expected = self.told = offset
        """Offset of the next message, if there is no gap; and the last offset to be committed."""
        self.handed = self.finished = offset - 1
        self.committed = min(self.committed, offset)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight."""
        return self.finished >= self.handed

    def committable(self) -> Iterator[Committable]:
        """Yield the offset that may be committed now, if there is a new one."""
        offset = self.expected if self.is_idle else self.finished + 1
        if self.is_ours and offset > self.told:
            self.told = offset
            yield *self.place, offset


class Offsets:
    """The partitions that are or were assigned to a listener."""

    def __init__(self) -> None:
        self._partitions: dict[Partition, PartitionProgress] = {}

    def __getitem__(self, place: Partition) -> PartitionProgress:
        """Return how far this listener is in a partition."""
        if place not in self._partitions:
            self._partitions[place] = PartitionProgress(place)
        return self._partitions[place]

    def assign(self, place: Partition, committed: int) -> int:
        """Begin with a partition, or continue with it.

        Parameters
        ----------
        committed
            The group's offset; NONE if there is none, or it isn't known.

        Returns
        -------
        Offset to read from; NONE for the group's.
        """
        progress = self._partitions.get(place)
        if progress is None or not 0 <= progress.committed <= committed:
            self._partitions[place] = PartitionProgress(place, committed)
            return NONE
        progress.is_ours = True
        progress.committed = progress.told = committed
        progress.expected = max(progress.expected, committed)
        return progress.expected

    def release(self, places: Iterable[Partition]) -> None:
        """Note that partitions are no longer assigned to this listener."""
        for place in places:
            self[place].is_ours = False

    def note_committed(self, place: Partition, offset: int) -> None:
        """Note that the servers have confirmed an offset."""
        progress = self[place]
        progress.committed = max(progress.committed, offset)

    def acknowledge(self, tokens: Sequence[Sequence[Any]]) -> Iterator[Committable]:
        """Note finished messages (topic, partition, offset); yield what may be committed now.

        Messages from before a new beginning count only if they have been handed over again.
        """
        if len(self._partitions) == 1:
            tokens = tokens[-1:]
        last = {(topic, partition): offset for topic, partition, offset in tokens}
        for place, offset in last.items():
            progress = self._partitions.get(place)
            if progress is not None and progress.finished < offset <= progress.handed:
                progress.finished = offset
                yield from progress.committable()

    def committable(self) -> Iterator[Committable]:
        """Yield all offsets that may be committed now."""
        for progress in self._partitions.values():
            yield from progress.committable()

    def are_idle(self, places: Iterable[Partition]) -> bool:
        """Return True if nothing of these partitions is in flight."""
        return all(self[place].is_idle for place in places)
