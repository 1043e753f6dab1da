"""`Acknowledger`: what a replica at the end of paths has finished, and how it says so. PURE.

Nothing is done twice, and each message is acknowledged once it is done, or, where the stage
flushes, once it is safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from arroyo.codec import Ack, Batch, Reason, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.values.batches import Position, bury, merge, pack, positions_of
from arroyo.protocol.values.bounded_table import BoundedTable
from arroyo.protocol.values.deliveries import Output, Work, origins_of
from arroyo.protocol.values.finished_set import FinishedSet


class Acknowledger:
    """Remembers what is finished by source, epoch and path, and makes acknowledgements.

    Parameters
    ----------
    name
        The replica that acknowledges.
    flushes
        Whether what is done is safe only after the next `flushed`.
    """

    def __init__(self, name: ReplicaName, *, flushes: bool) -> None:
        self.redelivered = 0
        """Messages that had been finished here before they came again."""
        self._name = name
        self._flushes = flushes
        self._unflushed: list[tuple[Batch, Ack]] = []
        self._finished: BoundedTable[tuple[str, int, int], FinishedSet] = BoundedTable(FinishedSet)

    def select_new(self, batch: Batch, work: Sequence[Work]) -> Sequence[Work]:
        """Leave out what was finished before."""
        finished = self._finished_of(batch)
        if not batch.fragments and all(finished.is_new(*span) for span in batch.ranges):
            return work
        new = [each for each in work if not finished.covers(each[0], each[1])]
        self.redelivered += len(work) - len(new)
        return new

    def covers(self, batch: Batch) -> bool:
        """Whether all messages of a batch were finished before."""
        finished = self._finished_of(batch)
        return all(finished.covers(*position) for position in positions_of(batch))

    def finish(
        self, batch: Batch, work: Sequence[Work], outputs: Sequence[Output]
    ) -> Iterator[Ack]:
        """Note what became of the messages that were worked on."""
        finished = self._finished_of(batch)
        stones = list(batch.tombstones)
        worked = {(sequence, fragment) for sequence, fragment, _ in work}
        # What came again and was not worked on is finished too, unless it waits for its turn.
        done = [
            position
            for position in positions_of(batch)
            if position not in worked and finished.covers(*position)
        ]
        for (sequence, fragment, _), output in zip(work, outputs, strict=True):
            if output.reason is None:
                done.append((sequence, fragment))
            else:
                stones += bury([(sequence, fragment)], output.reason)
        whole = pack(sorted(sequence for sequence, fragment in done if not fragment))
        parts = tuple((number, fragment) for number, fragment in done if fragment)
        yield from self._acknowledge(batch, whole, merge(stones), parts, unsafe=bool(work))

    def finish_whole(self, batch: Batch, *, again: bool = False) -> Iterator[Ack]:
        """Note that all of a batch is done, in which no message is in parts.

        `again`: it was done before, and is only to be acknowledged by this path as well.
        """
        unsafe = bool(batch.ranges) and not again
        yield from self._acknowledge(batch, batch.ranges, batch.tombstones, unsafe=unsafe)

    def flushed(self, refused: Mapping[Origin, Reason] | None = None) -> list[Ack]:
        """What was finished so far is safe now; messages in `refused` have ended instead."""
        unflushed, self._unflushed = self._unflushed, []
        return [_without(refused, batch, ack) if refused else ack for batch, ack in unflushed]

    def _finished_of(self, batch: Batch) -> FinishedSet:
        finished = self._finished[batch.source, batch.epoch, batch.path]
        finished.advance(batch.frontier)
        return finished

    def _acknowledge(
        self,
        batch: Batch,
        ranges: tuple[tuple[int, int], ...],
        stones: tuple[Tombstone, ...],
        parts: tuple[Position, ...] = (),
        *,
        unsafe: bool,
    ) -> Iterator[Ack]:
        finished = self._finished_of(batch)
        for first, end in ranges:
            finished.add(first, end)
        for sequence, fragment in parts:
            finished.add(sequence, sequence + 1, fragment)
        for stone in stones:
            finished.add(stone.first, stone.end, stone.fragment)
        ack = Ack(*self._name, batch.source, batch.epoch, batch.path, ranges, stones, parts)
        if self._flushes and (unsafe or self._unflushed):
            self._unflushed.append((batch, ack))
        elif ranges or parts or stones:
            # Nothing was published for it just now, so there may be no flush to wait for.
            yield ack


def _without(refused: Mapping[Origin, Reason], batch: Batch, ack: Ack) -> Ack:
    """Return the acknowledgement of a batch with tombstones for the messages that were refused."""
    origin_of = origins_of(batch)
    whole = [number for first, end in ack.ranges for number in range(first, end)]
    ends: dict[Position, Reason] = {}
    for position in (*((number, ()) for number in whole), *ack.fragments):
        reason = refused.get(origin_of(*position))
        if reason is not None:
            ends[position] = reason
    if not ends:
        return ack
    stones = [stone for position, reason in ends.items() for stone in bury([position], reason)]
    return msgspec.structs.replace(
        ack,
        ranges=pack(number for number in whole if (number, ()) not in ends),
        fragments=tuple(position for position in ack.fragments if position not in ends),
        tombstones=merge([*ack.tombstones, *stones]),
    )
