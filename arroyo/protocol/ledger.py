"""`Ledger`: what a source has sent and the sinks have not finished on every path. PURE.

The ledger keeps the messages themselves, so that they can be sent again, until each path from
the source to where push-pull links end has acknowledged them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from arroyo.codec import Ack, Kind, Reason, Tombstone

from .finished import Finished
from .loads import Load
from .paths import Terminal
from .ranges import RangeSet


@dataclass(slots=True)
class Shipment:
    """Messages that were sent together: the load, its sequences, and when it left last."""

    load: Load
    first: int
    end: int
    tokens: Sequence[Any]
    sent_at: float


@dataclass(slots=True)
class Advance:
    """What became free when the frontier moved."""

    tokens: list[Any]
    messages: int
    size: int
    delay_s: float | None
    """How long the last of them took from its sending, in s."""
    items: list[Any] = field(default_factory=list)
    """Those that will never be sent again."""


class Ledger:
    """Sequences from 0 on; those below `frontier` are finished and forgotten.

    Parameters
    ----------
    terminals
        Where each path ends, by path number.
    """

    def __init__(self, terminals: Sequence[Terminal]) -> None:
        self._terminals = terminals
        self._paths = [Finished() for _ in terminals]
        self._shipments: deque[Shipment] = deque()
        self._controls: dict[int, list[set[int]]] = {}
        self._buried: dict[int, RangeSet] = {}
        self.next = 0
        self.frontier = 0

    @property
    def empty(self) -> bool:
        """Whether everything sent is finished."""
        return self.frontier == self.next

    def add(self, load: Load, count: int, tokens: Sequence[Any], now: float) -> None:
        """Enter a load with the next `count` sequences."""
        shipment = Shipment(load, self.next, self.next + count, tokens, now)
        if load.header.kind != Kind.EVENTS:
            self._controls[self.next] = [set() for _ in self._paths]
        self._shipments.append(shipment)
        self.next += count

    def acknowledge(self, ack: Ack) -> None:
        """Note what a terminal stage has finished; nonsense from a confused peer is ignored."""
        if not 0 <= ack.path < len(self._paths) or ack.taken:
            return
        path = self._paths[ack.path]
        for first, end in ack.ranges:
            if end <= self.next:
                self._finish(path, ack, first, end)
        for sequence, fragment in ack.fragments:
            if sequence < self.next:
                path.add(sequence, sequence + 1, fragment)
        for first, end, reason, fragment in ack.tombstones:
            if end <= self.next:
                path.add(first, end, fragment)
                if not fragment and reason != Reason.FINISHED:
                    self._buried.setdefault(reason, RangeSet()).add(first, end)

    def _finish(self, path: Finished, ack: Ack, first: int, end: int) -> None:
        if end - first == 1 and first in self._controls:
            # Each replica of a terminal stage has to see Start and Stop for itself.
            seen = self._controls[first][ack.path]
            seen.add(ack.replica)
            if len(seen) < self._terminals[ack.path].replicas:
                return
        path.add(first, end)

    def advance(self, now: float) -> Advance | None:
        """Move the frontier; what it passed is free. None where it has not moved."""
        frontier = min(path.first_gap() for path in self._paths)
        if frontier == self.frontier:
            return None
        freed = Advance([], frontier - self.frontier, 0, None)
        for shipment in self._shipments:
            if shipment.first >= frontier:
                break
            low = max(self.frontier, shipment.first) - shipment.first
            freed.tokens += shipment.tokens[low : frontier - shipment.first]
        while self._shipments and self._shipments[0].end <= frontier:
            shipment = self._shipments.popleft()
            freed.size += shipment.load.size
            freed.items += shipment.load.items
            freed.delay_s = now - shipment.sent_at
            self._controls.pop(shipment.first, None)
        self.frontier = frontier
        for path in self._paths:
            path.advance(frontier)
        return freed

    def count_buried(self, first: int, end: int) -> dict[Reason, int]:
        """Return how many of a range ended on the way, and why; then forget that."""
        counts = {
            Reason(reason): end - first - sum(b - a for a, b in ranges.missing(first, end))
            for reason, ranges in self._buried.items()
        }
        for ranges in self._buried.values():
            ranges.discard_below(end)
        return counts

    def unfinished(
        self,
        paths: Iterable[int],
        sent_before: float,
        waiting: RangeSet,
        *,
        attempt: int,
        with_order: bool,
    ) -> Iterator[Load]:
        """Yield what has to be sent again by some paths, oldest first.

        Parameters
        ----------
        paths
            Paths that matter: what is finished on all of them is left out.
        sent_before
            Only what left at this time or earlier.
        waiting
            Sequences that have not left yet, so that they can't be lost.
        attempt
            Number of this round of sending again.
        with_order
            Whether a stage below waits for what comes before: then the places of what is left
            out are told by tombstones.
        """
        ways = [self._paths[path] for path in paths]
        for shipment in self._shipments:
            if shipment.sent_at > sent_before:
                continue
            missing = RangeSet(
                gap for way in ways for gap in way.missing(shipment.first, shipment.end)
            )
            gone = missing.missing(max(shipment.first, self.frontier), shipment.end)
            lost = [gap for first, end in missing for gap in waiting.missing(first, end)]
            if lost or (with_order and gone):
                yield self._again(shipment, lost, gone if with_order else [], attempt)

    def mark_sent(self, sent_before: float, now: float) -> None:
        """Everything that left at `sent_before` or earlier has just left again."""
        for shipment in self._shipments:
            if shipment.sent_at <= sent_before:
                shipment.sent_at = now

    def _again(
        self,
        shipment: Shipment,
        lost: Sequence[tuple[int, int]],
        gone: Sequence[tuple[int, int]],
        attempt: int,
    ) -> Load:
        load = shipment.load
        at = [number - shipment.first for first, end in lost for number in range(first, end)]
        header = msgspec.structs.replace(
            load.header,
            # Start and Stop with nothing missing are mere places in the order.
            kind=load.header.kind if at else Kind.EVENTS,
            frontier=self.frontier,
            ranges=tuple(lost),
            tombstones=tuple(Tombstone(first, end, Reason.FINISHED) for first, end in gone),
            attempt=attempt,
        )
        items = [load.items[index] for index in at]
        keys = load.keys and [load.keys[index] for index in at]
        share = load.size * len(items) // max(1, len(load.items))
        return Load(header, items, share, keys)
