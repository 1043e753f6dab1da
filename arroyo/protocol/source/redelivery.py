"""What of a ledger is sent again (`Redelivery`), and when (`RedeliveryTimer`). PURE.

What is finished is left out, or told by a tombstone where a stage below waits for its place. A
message that processes have died of goes alone, or not at all (PROTOCOL 43).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import Kind, Reason, Tombstone, shared_size_of, size_of
from arroyo.protocol.values.batches import OutgoingBatch, pack, sequences_of, tombstones_for
from arroyo.protocol.values.ranges import RangeSet

from .ledger import Ledger, LedgerEntry

GRACE_S = (0.05, 1.0)
"""Least and longest wait from a sign of loss to sending again."""
STALL_S = 30.0
"""With nothing in flight to a neighbour and nothing acknowledged for so long, all is sent again."""


class RedeliveryTimer:
    """The times of one ledger.

    PROTOCOL 21: after a grace, since acknowledgements may be on their way and many signs tell of
    the same death. PROTOCOL 25: and as a last resort where nothing moves at all.
    """

    def __init__(self) -> None:
        self._lost_at: float | None = None
        self._due = 0.0
        self._delay_s = GRACE_S[0] / 4
        self._progress_at = 0.0
        self._stall_s = STALL_S

    def deadline(self, *, empty: bool) -> float | None:
        """When `expire` is to be called; `empty`: nothing is in the ledger."""
        if self._lost_at is not None:
            return self._due
        return None if empty else self._progress_at + self._stall_s

    def begin(self, now: float) -> None:
        """Something is in the ledger again."""
        self._progress_at = now

    def note_progress(self, now: float, delay_s: float | None) -> None:
        """The frontier has moved; the last message took so long to be finished."""
        self._progress_at, self._stall_s = now, STALL_S
        if delay_s is not None:
            self._delay_s += (delay_s - self._delay_s) / 8

    def note_loss(self, now: float) -> float | None:
        """Something may be lost. Returns how long it waits, where this is the first sign.

        Counted from the first one, or signs without end would put it off for ever.
        """
        first, self._lost_at = self._lost_at is None, now
        if not first:
            return None
        wait_s = min(max(4 * self._delay_s, GRACE_S[0]), GRACE_S[1])
        self._due = now + wait_s
        return wait_s

    def expire(self, now: float, *, idle: bool) -> float | None:
        """The deadline has come. Returns the time of the last sign: what left later is not lost.

        `idle`: nothing is in flight to a neighbour. None: there is no reason to send anything.
        """
        if self._lost_at is None:
            self._progress_at = now
            self._stall_s *= 2
            return now if idle else None
        before, self._lost_at = self._lost_at, None
        return before

    def postpone(self, before: float, now: float) -> None:
        """Ask again later for what left before a time."""
        if self._lost_at is None:
            self._lost_at = before
        self._due = now + GRACE_S[1]


class Redelivery:
    """Selects what of a ledger has to be sent again.

    `with_order`: whether a stage below wants the order of the source: then the places of what is
    left out are told by tombstones (PROTOCOL 23).
    """

    def __init__(self, ledger: Ledger, *, with_order: bool) -> None:
        self._ledger = ledger
        self._with_order = with_order

    def unfinished(
        self, paths: Iterable[int], sent_before: float, waiting: RangeSet
    ) -> Iterator[OutgoingBatch]:
        """Yield what has to be sent again by some paths, oldest first. PROTOCOL 22.

        `paths`: those that matter: what is finished on all of them is left out.
        `sent_before`: only what left at this time or earlier.
        `waiting`: sequences that have not left yet, so that they can't be lost.
        """
        ways = [self._ledger.paths[number] for number in paths]
        for entry in self._ledger.entries(sent_before):
            missing = RangeSet(
                gap
                for path in ways
                # A place that is held is not finished, and can't be told as if it were.
                for gap in (path.finished if self._with_order else path).missing(
                    entry.first, entry.end
                )
            )
            lost = [gap for first, end in missing for gap in waiting.missing(first, end)]
            stones: tuple[Tombstone, ...] = ()
            if self._with_order:
                first = max(entry.first, self._ledger.frontier)
                stones = tuple(self._tombstones(missing.missing(first, entry.end)))
            if lost or stones:
                yield from self._suspects_apart(entry, lost, stones, self._ledger.attempts)

    def _tombstones(self, gone: Iterable[tuple[int, int]]) -> Iterator[Tombstone]:
        """Yield tombstones for what is finished; for what ended on its way, also the reason.

        They are acknowledged like any others, perhaps to a next life that knows nothing else.
        """
        for first, end in gone:
            yield Tombstone(first, end, Reason.FINISHED)
            yield from self._ledger.tombstones.within(first, end)

    def due(self, sequence: int) -> Iterator[OutgoingBatch]:
        """Yield what goes out for a message that was withheld, if it is not finished."""
        if sequence >= self._ledger.frontier:
            entry = self._ledger.find(sequence)
            place = [(sequence, sequence + 1)]
            yield from self._suspects_apart(entry, place, (), self._ledger.attempts)

    def come_again(self, batch: OutgoingBatch) -> Iterator[OutgoingBatch]:
        """Yield what to send of a batch that an earlier life had sent; suspects go alone."""
        ranges = batch.header.ranges
        clear, _, _ = self._ledger.suspects.sort(ranges)
        if clear == list(ranges):
            yield batch
        else:
            yield from self._suspects_apart(self._ledger.find(ranges[0][0]), ranges, (), 0)

    def _suspects_apart(
        self,
        entry: LedgerEntry,
        lost: Iterable[tuple[int, int]],
        stones: tuple[Tombstone, ...],
        attempt: int,
    ) -> Iterator[OutgoingBatch]:
        suspects = self._ledger.suspects
        clear, alone, quarantined = suspects.sort(lost)
        stones += tombstones_for([(number, ()) for number in quarantined], Reason.QUARANTINED)
        if clear or stones:
            yield self._again(entry, clear, stones, attempt)
        for number in alone:
            yield self._again(entry, [(number, number + 1)], (), attempt, suspects.last)

    def _again(
        self,
        entry: LedgerEntry,
        lost: Sequence[tuple[int, int]],
        stones: tuple[Tombstone, ...],
        attempt: int,
        suspect: int = 0,
    ) -> OutgoingBatch:
        batch = entry.batch
        header = msgspec.structs.replace(
            batch.header,
            # Start and Stop with nothing missing are mere places in the order.
            kind=batch.header.kind if lost else Kind.EVENTS,
            frontier=self._ledger.frontier,
            ranges=tuple(lost),
            tombstones=stones,
            attempt=attempt,
            suspect=suspect,
        )
        at = [number - entry.first for first, end in lost for number in range(first, end)]
        items, keys = _pick(batch, at)
        return OutgoingBatch(header, items, size_of(items), keys)

    def without_finished(self, paths: Iterable[int], batch: OutgoingBatch) -> OutgoingBatch:
        """Leave out of a batch that leaves again what was finished while it waited.

        PROTOCOL 38: its payloads may be gone already, and it would be taken for a loss.
        """
        sequences = sequences_of(batch.header)
        missing = RangeSet(
            gap
            for number in paths
            for first, end in batch.header.ranges
            for gap in self._ledger.paths[number].finished.missing(first, end)
        )
        if len(missing) == len(sequences):
            return batch
        stones = batch.header.tombstones
        if self._with_order:
            gone = pack(number for number in sequences if number not in missing)
            stones += tuple(self._tombstones(gone))
        header = msgspec.structs.replace(
            batch.header,
            frontier=self._ledger.frontier,
            ranges=tuple(missing),
            tombstones=stones,
        )
        at = [index for index, number in enumerate(sequences) if number in missing]
        items, keys = _pick(batch, at)
        size = size_of(items) - shared_size_of(items)
        return OutgoingBatch(header, items, size, keys, batch.trim)


def _pick(batch: OutgoingBatch, at: Iterable[int]) -> tuple[list[Any], Sequence[int] | None]:
    """Return items and keys at some places of a batch."""
    keys = batch.keys and [batch.keys[index] for index in at]
    return [batch.items[index] for index in at], keys
