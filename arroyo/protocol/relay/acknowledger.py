"""`Acknowledger`: acknowledges what a replica at the end of paths has finished. PURE.

PROTOCOL 15: each message is acknowledged once it is done, or, where the stage flushes, once that is
over; what is finished is remembered, so that nothing is done twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from arroyo.codec import Ack, Batch, Reason, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.values.batches import Position, merge, pack, sort_positions, tombstones_for
from arroyo.protocol.values.deduplication import Deduplication
from arroyo.protocol.values.deliveries import Output, Work, origins_of


class Acknowledger:
    """Remembers what is finished, and makes acknowledgements.

    `flushes`: whether what is done is safe only after the next `flushed`.
    """

    def __init__(self, name: ReplicaName, *, flushes: bool) -> None:
        self.known = Deduplication()
        """What is finished."""
        self._name = name
        self._flushes = flushes
        self._unflushed: list[tuple[Batch, Ack, bool]] = []
        """With each, whether something was published for it."""
        self._begun = 0
        """The flush that is under way is for so many of them, the first ones."""

    def finish(self, batch: Batch, work: Sequence[Work], outputs: Sequence[Output]) -> Ack | None:
        """Note what became of the messages that were worked on."""
        stones = list(batch.tombstones)
        done = self.known.left_out(batch, work)
        for (sequence, fragment, _), output in zip(work, outputs, strict=True):
            if output.reason is None:
                done.append((sequence, fragment))
            else:
                stones += tombstones_for([(sequence, fragment)], output.reason)
        whole, parts = sort_positions(done)
        return self._acknowledge(batch, whole, merge(stones), parts, unsafe=bool(work))

    def finish_whole(self, batch: Batch, *, again: bool = False) -> Ack | None:
        """Note that all of a batch is done, in which no message is in parts.

        `again`: it was done before, and is only to be acknowledged by this path as well.
        """
        unsafe = bool(batch.ranges) and not again
        return self._acknowledge(batch, batch.ranges, batch.tombstones, unsafe=unsafe)

    def begin_flush(self) -> None:
        """A flush begins that is for what was finished so far."""
        self._begun = len(self._unflushed)

    def flushed(
        self, refused: Mapping[Origin, Reason] | None = None, *, begun: bool = False
    ) -> list[Ack]:
        """What was finished so far is safe now; messages in `refused` have ended instead.

        `begun`: only what was finished before `begin_flush`.
        """
        unflushed = self._unflushed
        count = self._begun if begun else len(unflushed)
        while count < len(unflushed) and not unflushed[count][2]:
            count += 1  # no later flush need ever come for these
        safe, self._unflushed, self._begun = unflushed[:count], unflushed[count:], 0
        return [_without(refused, batch, ack) if refused else ack for batch, ack, _ in safe]

    def _acknowledge(
        self,
        batch: Batch,
        ranges: tuple[tuple[int, int], ...],
        stones: tuple[Tombstone, ...],
        parts: tuple[Position, ...] = (),
        *,
        unsafe: bool,
    ) -> Ack | None:
        finished = self.known.of(batch)
        for first, end in ranges:
            finished.add(first, end)
        if parts:
            finished.add_positions(parts)
        finished.add_tombstones(stones)
        ack = Ack(*self._name, batch.source, batch.epoch, batch.path, ranges, stones, parts)
        if self._flushes and (unsafe or self._unflushed):
            self._unflushed.append((batch, ack, unsafe))
            return None
        # Nothing was published for it just now, so there may be no flush to wait for.
        return ack if ranges or parts or stones else None


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
    stones = [
        stone for position, reason in ends.items() for stone in tombstones_for([position], reason)
    ]
    return msgspec.structs.replace(
        ack,
        ranges=pack(number for number in whole if (number, ()) not in ends),
        fragments=tuple(position for position in ack.fragments if position not in ends),
        tombstones=merge([*ack.tombstones, *stones]),
    )
