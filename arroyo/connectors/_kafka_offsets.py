"""Which offsets of Kafka's partitions may be committed. PURE.

One offset is committed for each partition: that of the first message that has to be read again by
whoever gets the partition next. All before it are finished, or can't be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Partition = tuple[str, int]
"""Topic and number."""
Committable = tuple[str, int, int]
"""Topic, partition, and the offset that may be committed."""


class _Progress:
    """Of one partition since it was assigned: the last offsets of which something is true."""

    __slots__ = ("finished", "handed", "handed_before", "left_out")

    def __init__(self, before: int) -> None:
        self.handed = self.handed_before = self.finished = self.left_out = before

    @property
    def is_idle(self) -> bool:
        return self.finished >= self.handed

    @property
    def next(self) -> int:
        return 1 + (max(self.left_out, self.finished) if self.is_idle else self.finished)


class Offsets:
    """The partitions that are assigned to a listener.

    For each message that was read comes `read`, and then `hand_over` or `leave_out`, or, if it
    was refused where it was handed over, both.
    """

    def __init__(self) -> None:
        self._partitions: dict[Partition, _Progress] = {}

    def read(self, topic: str, partition: int, offset: int) -> bool:
        """Return True if this message is the first one of its partition.

        That it is, too, where offsets have gone back, as those of a topic that was made anew.
        """
        progress = self._partitions.get((topic, partition))
        if progress is not None and offset > progress.handed and offset > progress.left_out:
            return False
        self._partitions[topic, partition] = _Progress(offset - 1)
        return True

    def hand_over(self, topic: str, partition: int, offset: int) -> None:
        """Note that a message is about to be handed over."""
        progress = self._partitions[topic, partition]
        progress.handed_before = progress.handed
        progress.handed = offset

    def leave_out(self, topic: str, partition: int, offset: int) -> Iterator[Committable]:
        """Note that a message can't be taken; yield what may be committed now, if anything may."""
        progress = self._partitions[topic, partition]
        if progress.handed == offset:
            progress.handed = progress.handed_before
        progress.left_out = offset
        if progress.is_idle:
            yield topic, partition, progress.next

    def acknowledge(self, tokens: Iterable[Sequence[Any]]) -> Iterator[Committable]:
        """Note what is finished (topic, partition, offset); yield what may be committed now.

        What was handed over before a partition went to somebody else, and came back, counts only
        if it has been handed over once more.
        """
        last: dict[Partition, int] = {}
        for topic, partition, offset in tokens:
            last[topic, partition] = offset
        for (topic, partition), offset in last.items():
            progress = self._partitions.get((topic, partition))
            if progress is not None and progress.finished < offset <= progress.handed:
                progress.finished = offset
                yield topic, partition, progress.next

    def are_idle(self, partitions: Iterable[Partition]) -> bool:
        """Return True if nothing of these partitions is under way."""
        known = self._partitions
        return all(known[each].is_idle for each in partitions if each in known)

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that somebody else has now."""
        for each in partitions:
            self._partitions.pop(each, None)
