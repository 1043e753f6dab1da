"""`Ledger`: what a source has sent and the sinks have not finished on every path. PURE.

The ledger keeps the messages themselves, so that they can be sent again, until each path from
the source to where push-pull links end has acknowledged them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import (
    Ack,
    Body,
    Kind,
    Reason,
    Shared,
    Suspect,
    Tombstone,
    shared_size_of,
    size_of,
)
from arroyo.protocol.values.batches import OutgoingBatch, bury, sequences_of
from arroyo.protocol.values.finished_set import FinishedSet
from arroyo.protocol.values.paths import Terminal
from arroyo.protocol.values.ranges import RangeSet

from .held_by_folds import HeldByFolds
from .suspects import Suspects


class LedgerEntry(msgspec.Struct):
    """Messages that were sent together: the load, its sequences, and when it left last."""

    load: OutgoingBatch
    first: int
    end: int
    tokens: Sequence[Any]
    sent_at: float
    handed: bool
    """Whether the listener handed them over in this life, so that they count in the window."""


class Advance(msgspec.Struct):
    """What became free when the frontier moved."""

    tokens: list[Any]
    messages: int
    """How many of them had been handed over."""
    size: int
    delay_s: float | None
    """How long the last of them took from its sending, in s."""
    items: list[Any] = []
    """Those that will never be sent again, left out those in a `Body`: they hold nothing."""


class Ledger:
    """Sequences from the first on; those below `frontier` are finished and forgotten.

    Parameters
    ----------
    terminals
        Where each path ends, by path number.
    first
        Where to begin; an earlier life has finished what is below.
    """

    def __init__(self, terminals: Sequence[Terminal], first: int = 0) -> None:
        self._terminals = terminals
        self._paths = [FinishedSet() for _ in terminals]
        for path in self._paths:
            path.advance(first)
        self._taken = [HeldByFolds() for _ in terminals]
        self._shipments: deque[LedgerEntry] = deque()
        self._controls: dict[int, list[set[int]]] = {}
        self._buried: dict[int, RangeSet] = {}
        self._suspects = Suspects()
        self.next = first
        self.sent_before = first
        """What an earlier life had sent, from `first` on, ends here; it comes again."""
        self.frontier = first
        self.buried: dict[int, int] = {}
        """How many below the frontier ended on the way, since `take_buried`."""

    @property
    def empty(self) -> bool:
        """Whether everything sent is finished."""
        return self.frontier == self.next

    @property
    def open_events(self) -> int:
        """How many events some path has not finished; takes its time, if there are many gaps."""
        missing = RangeSet()
        for path in self._paths:
            for first, end in path.missing(self.frontier, self.next):
                missing.add(first, end)
        controls = sum(sequence in missing for sequence in self._controls)
        return sum(end - first for first, end in missing) - controls

    @property
    def quiet(self) -> bool:
        """Whether everything sent is finished, or held by folds that live."""
        return not any(
            taken.missing(path, self.frontier, self.next)
            for path, taken in zip(self._paths, self._taken, strict=True)
        )

    def add(
        self,
        load: OutgoingBatch,
        count: int,
        tokens: Sequence[Any],
        now: float,
        *,
        handed: bool = True,
    ) -> None:
        """Enter a load with the next `count` sequences."""
        shipment = LedgerEntry(load, self.next, self.next + count, tokens, now, handed)
        if load.header.kind != Kind.EVENTS:
            self._controls[self.next] = [set() for _ in self._paths]
        self._shipments.append(shipment)
        self.next += count

    def pass_over(self, load: OutgoingBatch, count: int, now: float) -> None:
        """Enter `count` places whose messages will never come; they are finished."""
        first = self.next
        self.add(load, count, (None,) * count, now, handed=False)
        for path in self._paths:
            path.add(first, self.next)

    def acknowledge(self, ack: Ack) -> None:
        """Note what was finished, or is held; nonsense from a confused peer is ignored."""
        numbers = range(ack.path, min(ack.path + ack.paths, len(self._paths)))
        if ack.taken:
            taken = self._known_part(ack)
            for number in numbers:
                self._taken[number].add(taken)
            return
        for number in numbers:
            self._acknowledge_path(number, ack)

    def _known_part(self, ack: Ack) -> Ack:
        """Leave out what has not come again yet: it will be acknowledged when it has."""
        sent = max(self.next, self.sent_before)
        spans = [(first, min(end, self.next)) for first, end in ack.ranges if end <= sent]
        return msgspec.structs.replace(
            ack,
            ranges=tuple(span for span in spans if span[0] < span[1]),
            fragments=tuple(part for part in ack.fragments if part[0] < self.next),
        )

    def _acknowledge_path(self, number: int, ack: Ack) -> None:
        path = self._paths[number]
        sent = max(self.next, self.sent_before)
        for first, end in ack.ranges:
            if end <= sent:
                # What has not come again yet will be acknowledged when it has.
                self._finish(number, ack, first, min(end, self.next))
        for sequence, fragment in ack.fragments:
            if sequence < self.next:
                path.add(sequence, sequence + 1, fragment)
        for first, told, reason, fragment in ack.tombstones:
            end = min(told, self.next)
            if first < end and told <= sent:
                path.add(first, end, fragment)
                if not fragment and reason != Reason.FINISHED:
                    ranges = self._buried.setdefault(reason, RangeSet())
                    ranges.add(max(first, self.frontier), end)

    def _finish(self, number: int, ack: Ack, first: int, end: int) -> None:
        path = self._paths[number]
        for control in [sequence for sequence in self._controls if first <= sequence < end]:
            # Each replica of a terminal stage has to see Start and Stop for itself.
            path.add(first, control)
            seen = self._controls[control][number]
            seen.add(ack.replica)
            if len(seen) >= (ack.replicas or self._terminals[number].replicas):
                path.add(control, control + 1)
            first = control + 1
        path.add(first, end)

    @property
    def holders(self) -> tuple[tuple[str, int, int], ...]:
        """Stage, replica and incarnation of the folds that hold anything."""
        return tuple(dict.fromkeys(holder for taken in self._taken for holder in taken.holders))

    def forget_taken(self, stage: str, replica: int, incarnation: int) -> None:
        """A new life of a replica below is there; what its former ones held is gone."""
        for taken in self._taken:
            taken.forget_former(stage, replica, incarnation)

    def advance(self, now: float) -> Advance | None:
        """Move the frontier; what it passed is free. None where it has not moved."""
        frontier = min(path.first_gap() for path in self._paths)
        if frontier == self.frontier:
            return None
        freed = Advance([], 0, 0, None)
        for shipment in self._shipments:
            if shipment.first >= frontier:
                break
            low = max(self.frontier, shipment.first) - shipment.first
            high = min(frontier, shipment.end) - shipment.first
            freed.tokens += shipment.tokens[low:high]
            freed.messages += high - low if shipment.handed else 0
        while self._shipments and self._shipments[0].end <= frontier:
            shipment = self._shipments.popleft()
            freed.size += shipment.load.size if shipment.handed else 0
            if type(shipment.load.items) is not Body:
                freed.items += shipment.load.items
            freed.delay_s = now - shipment.sent_at
            self._controls.pop(shipment.first, None)
        self._count_buried(frontier)
        self.frontier = frontier
        for path, taken in zip(self._paths, self._taken, strict=True):
            path.advance(frontier)
            taken.advance(frontier)
        self._suspects.forget_below(frontier)
        return freed

    def let_go_of_last(self) -> None:
        """Keep of the load entered last no more than what has to be given back one day."""
        load = self._shipments[-1].load
        items = [item for item in load.items if type(item) is Shared]
        self._shipments[-1].load = OutgoingBatch(load.header, items, load.size)

    def count_open(self, sent_before: float) -> int:
        """How many places are neither finished nor held, of what left at a time or earlier."""
        return sum(
            end - first
            for shipment in self._shipments
            if shipment.sent_at <= sent_before
            for path, taken in zip(self._paths, self._taken, strict=True)
            for first, end in taken.missing(path, shipment.first, shipment.end)
        )

    def give_up(
        self, paths: Iterable[int], sent_before: float, waiting: RangeSet
    ) -> list[tuple[int, int]]:
        """Finish events that will not come; parameters as in `unfinished`."""
        given_up = RangeSet()
        for number in paths:
            for shipment in self._shipments:
                if shipment.sent_at <= sent_before and shipment.load.header.kind == Kind.EVENTS:
                    path = self._paths[number]
                    for gap in self._taken[number].missing(path, shipment.first, shipment.end):
                        for first, end in waiting.missing(*gap):
                            path.add(first, end)
                            given_up.add(first, end)
        return list(given_up)

    def accuse(self, suspect: Suspect) -> int:
        """Note that a process has died of a message; returns how many have.

        0: it is finished, buried, was never sent, or is a Start or Stop.
        """
        self._suspects.hear(suspect)  # though there may be nothing left to be done about it
        sequence = suspect.sequence
        sent = max(self.next, self.sent_before)
        if not self.frontier <= sequence < sent or sequence in self._controls:
            return 0
        return self._suspects.accuse(suspect)

    def withhold(self, sequence: int) -> None:
        """A message does not go out until it is known whether quarantine keeps it."""
        self._suspects.withhold(sequence)

    def quarantined(self, sequence: int, *, kept: bool, attempt: int) -> list[OutgoingBatch]:
        """A message is in quarantine: it is told by a tombstone when it is due again.

        `kept`: or it is not, and goes out as ever. Returns what was due while it was withheld.
        """
        if not self._suspects.quarantined(sequence, kept=kept) or sequence < self.frontier:
            return []
        entry = next(each for each in self._shipments if each.first <= sequence < each.end)
        return list(self._parts(entry, [(sequence, sequence + 1)], (), attempt))

    def find_fatal(self, first: int, end: int) -> Iterator[tuple[Suspect, int]]:
        """See `Suspects`."""
        return self._suspects.find_fatal(first, end)

    def part(self, load: OutgoingBatch) -> Iterator[OutgoingBatch]:
        """Yield what to send instead of the batch entered last: suspects go alone."""
        clear, _, _ = self._suspects.sort(load.header.ranges)
        if clear == list(load.header.ranges):
            yield load
        else:
            yield from self._parts(self._shipments[-1], load.header.ranges, (), 0)

    def find(self, sequence: int) -> tuple[OutgoingBatch, Any]:
        """Return the load and the item of a message that is not finished."""
        shipment = next(each for each in self._shipments if each.first <= sequence < each.end)
        return shipment.load, shipment.load.items[sequence - shipment.first]

    def _count_buried(self, end: int) -> None:
        for reason, ranges in self._buried.items():
            count = sum(after - before for before, after in ranges.common(self.frontier, end))
            if count:
                self.buried[reason] = self.buried.get(reason, 0) + count
                ranges.discard_below(end)

    def take_buried(self) -> dict[int, int]:
        """Return how many ended on the way, and why, and begin to count anew: a run is over."""
        buried, self.buried = self.buried, {}
        return buried

    def unfinished(
        self,
        paths: Iterable[int],
        sent_before: float,
        waiting: RangeSet,
        *,
        attempt: int,
        with_order: bool,
    ) -> Iterator[OutgoingBatch]:
        """Yield what has to be sent again by some paths, oldest first; suspects go alone.

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
        ways = [(self._taken[path], self._paths[path]) for path in paths]
        for shipment in self._shipments:
            if shipment.sent_at > sent_before:
                continue
            missing = RangeSet(
                gap
                for taken, path in ways
                for gap in (
                    # A place that is held is not finished, and can't be told as if it were.
                    path.missing(shipment.first, shipment.end)
                    if with_order
                    else taken.missing(path, shipment.first, shipment.end)
                )
            )
            gone = missing.missing(max(shipment.first, self.frontier), shipment.end)
            lost = [gap for first, end in missing for gap in waiting.missing(first, end)]
            if lost or (with_order and gone):
                stones = tuple(self._stones(gone)) if with_order else ()
                yield from self._parts(shipment, lost, stones, attempt)

    def _parts(
        self,
        shipment: LedgerEntry,
        lost: Iterable[tuple[int, int]],
        stones: tuple[Tombstone, ...],
        attempt: int,
    ) -> Iterator[OutgoingBatch]:
        clear, alone, buried = self._suspects.sort(lost)
        stones += bury([(number, ()) for number in buried], Reason.QUARANTINED)
        if clear or stones:
            yield self._again(shipment, clear, stones, attempt)
        for number in alone:
            place = [(number, number + 1)]
            yield self._again(shipment, place, (), attempt, self._suspects.last)

    def _stones(self, gone: Iterable[tuple[int, int]]) -> Iterator[Tombstone]:
        """Tell the places of what is finished; of what ended on its way, once more how it did.

        They are acknowledged like any others, perhaps to a next life that has heard nothing else.
        """
        for first, end in gone:
            yield Tombstone(first, end, Reason.FINISHED)
            for reason, ranges in self._buried.items():
                for gap in ranges.common(first, end):
                    yield Tombstone(*gap, Reason(reason))

    def without_finished(
        self, paths: Iterable[int], load: OutgoingBatch, *, with_order: bool
    ) -> OutgoingBatch:
        """Leave out of a load that is sent again what was finished while it waited.

        Its payloads may be gone already, and it would be taken for a loss. Parameters as in
        `unfinished`.
        """
        sequences = sequences_of(load.header)
        missing = RangeSet(
            gap
            for path in paths
            for first, end in load.header.ranges
            for gap in self._paths[path].missing(first, end)
        )
        if len(missing) == len(sequences):
            return load
        at = [index for index, number in enumerate(sequences) if number in missing]
        stones = load.header.tombstones
        if with_order:
            gone = [(number, ()) for number in sequences if number not in missing]
            stones += bury(gone, Reason.FINISHED)
        header = msgspec.structs.replace(
            load.header, frontier=self.frontier, ranges=tuple(missing), tombstones=stones
        )
        items = [load.items[index] for index in at]
        keys = load.keys and [load.keys[index] for index in at]
        return OutgoingBatch(header, items, size_of(items) - shared_size_of(items), keys, load.trim)

    def mark_sent(self, sent_before: float, now: float) -> None:
        """Everything that left at `sent_before` or earlier has just left again."""
        for shipment in self._shipments:
            if shipment.sent_at <= sent_before:
                shipment.sent_at = now

    def _again(
        self,
        shipment: LedgerEntry,
        lost: Sequence[tuple[int, int]],
        stones: tuple[Tombstone, ...],
        attempt: int,
        suspect: int = 0,
    ) -> OutgoingBatch:
        load = shipment.load
        at = [number - shipment.first for first, end in lost for number in range(first, end)]
        header = msgspec.structs.replace(
            load.header,
            # Start and Stop with nothing missing are mere places in the order.
            kind=load.header.kind if at else Kind.EVENTS,
            frontier=self.frontier,
            ranges=tuple(lost),
            tombstones=stones,
            attempt=attempt,
            suspect=suspect,
        )
        items = [load.items[index] for index in at]
        keys = load.keys and [load.keys[index] for index in at]
        return OutgoingBatch(header, items, size_of(items), keys)
