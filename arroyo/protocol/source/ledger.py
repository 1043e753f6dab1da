"""`Ledger`: messages that a source has sent and some path has not finished. PURE.

The ledger keeps the messages themselves, so that they can be sent again (`Redelivery`), until each
path from the source to where push-pull links end has acknowledged them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import Ack, Body, Kind, Reason, Shared, Suspect, Tombstone
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.paths import Terminal
from arroyo.protocol.values.ranges import RangeSet

from .path_progress import PathProgress
from .suspects import Suspects


class LedgerEntry(msgspec.Struct):
    """Messages that were sent together: the batch, its sequences, and when it left last."""

    batch: OutgoingBatch
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
    """Those that will never be sent again; not those in a `Body`, which hold nothing."""


class Ledger:
    """Sequences from the first on; those below `frontier` are finished and forgotten.

    `terminals`: where each path ends, by path number.
    `first`: where to begin; an earlier life has finished what is below.
    """

    def __init__(self, terminals: Sequence[Terminal], first: int = 0) -> None:
        self.paths = [PathProgress(terminal, first) for terminal in terminals]
        self._entries: deque[LedgerEntry] = deque()
        self._controls: set[int] = set()
        self.suspects = Suspects()
        self.next = first
        self.sent_before = first
        """What an earlier life had sent, from `first` on, ends here; it comes again."""
        self.frontier = first
        self.attempts = 0
        """Rounds of sending again so far."""
        self.tombstones = Tombstones()
        self.missing = RangeSet()
        """Events of the open run that will not arrive."""

    @property
    def empty(self) -> bool:
        """Whether everything sent is finished."""
        return self.frontier == self.next

    @property
    def open_events(self) -> int:
        """How many events some path has not finished; takes its time, if there are many gaps."""
        missing = RangeSet(
            gap for path in self.paths for gap in path.finished.missing(self.frontier, self.next)
        )
        return len(missing) - sum(sequence in missing for sequence in self._controls)

    @property
    def quiet(self) -> bool:
        """Whether everything sent is finished, or held by folds that live."""
        return not any(path.missing(self.frontier, self.next) for path in self.paths)

    @property
    def holders(self) -> tuple[tuple[str, int, int], ...]:
        """Stage, replica and incarnation of the folds that hold anything."""
        return tuple(dict.fromkeys(each for path in self.paths for each in path.held.holders))

    def entries(self, sent_before: float) -> Iterator[LedgerEntry]:
        """Yield what left at a time or earlier and is not finished, oldest first."""
        return (entry for entry in self._entries if entry.sent_at <= sent_before)

    def find(self, sequence: int) -> LedgerEntry:
        """Return the entry of a message that is not finished."""
        return next(each for each in self._entries if each.first <= sequence < each.end)

    # What is sent

    def begin_run(self) -> None:
        """Reset the counts of what ended on its way, and of what is missing."""
        self.tombstones.counts, self.missing = {}, RangeSet()

    def add(
        self, batch: OutgoingBatch, tokens: Sequence[Any], now: float, *, handed: bool = True
    ) -> None:
        """Enter a batch with the next sequences, one for each of its items."""
        first, self.next = self.next, self.next + len(batch.items)
        if batch.header.kind != Kind.EVENTS:
            self._controls.add(first)
            for path in self.paths:
                path.add_control(first)
        self._entries.append(LedgerEntry(batch, first, self.next, tokens, now, handed))

    def pass_over(self, places: OutgoingBatch, now: float) -> None:
        """Enter places whose messages will never come; they are finished."""
        first = self.next
        self.add(places, (None,) * len(places.items), now, handed=False)
        for path in self.paths:
            path.finished.add(first, self.next)

    def let_go_of_last(self) -> None:
        """Drop the messages entered last, but for payloads that have to be given back."""
        batch = self._entries[-1].batch
        items = [item for item in batch.items if type(item) is Shared]
        self._entries[-1].batch = OutgoingBatch(batch.header, items, batch.size)

    def mark_sent(self, sent_before: float, now: float) -> None:
        """Note that everything that left at `sent_before` or earlier has just left again."""
        for entry in self.entries(sent_before):
            entry.sent_at = now

    # What is heard of it

    def acknowledge(self, ack: Ack) -> bool:
        """Note what was finished, or is held; nonsense from a confused peer is ignored.

        False: a life of a fold has held it that has ended.
        """
        ack = self._known_part(ack)
        paths = self.paths[ack.path : ack.path + ack.paths]
        if ack.taken:
            return all([path.held.add(ack) for path in paths])
        for path in paths:
            path.acknowledge(ack)
        for first, end, reason, fragment in ack.tombstones if paths else ():
            if not fragment:
                self.tombstones.add(reason, max(first, self.frontier), end)
        return True

    def _known_part(self, ack: Ack) -> Ack:
        """Return the part of an acknowledgement that is about messages in the ledger.

        PROTOCOL 50: after a restart it may reach beyond what has come again so far.
        """
        end, sent = self.next, max(self.next, self.sent_before)
        for span in ack.ranges:
            if span[1] > end:
                break
        else:
            if not ack.tombstones and not ack.fragments:
                return ack  # as nearly always
        ranges = [
            (first, min(last, end)) for first, last in ack.ranges if first < end and last <= sent
        ]
        tombstones = [
            stone._replace(end=min(stone.end, end))
            for stone in ack.tombstones
            if stone.first < end and stone.end <= sent
        ]
        parts = [part for part in ack.fragments if part[0] < end]
        return msgspec.structs.replace(
            ack, ranges=tuple(ranges), tombstones=tuple(tombstones), fragments=tuple(parts)
        )

    def forget_held(self, stage: str, replica: int, incarnation: int) -> bool:
        """A new life of a replica below is there; what its former ones held, if any, is gone."""
        return any([path.held.forget_former(stage, replica, incarnation) for path in self.paths])

    def accuse(self, suspect: Suspect) -> int:
        """Note that a process has died of a message; returns how many have.

        0: it is finished, in quarantine, was never sent, or is a Start or Stop.
        """
        self.suspects.hear(suspect)  # though there may be nothing left to be done about it
        sequence = suspect.sequence
        sent = max(self.next, self.sent_before)
        if not self.frontier <= sequence < sent or sequence in self._controls:
            return 0
        return self.suspects.accuse(suspect)

    def advance(self, now: float) -> Advance | None:
        """Move the frontier; what it passed is free. None where it has not moved.

        PROTOCOL 16: it is the first sequence that some path has not finished.
        """
        frontier = min(path.finished.first_gap() for path in self.paths)
        if frontier == self.frontier:
            return None
        freed = Advance([], 0, 0, None)
        for entry in self._entries:
            if entry.first >= frontier:
                break
            low = max(self.frontier, entry.first) - entry.first
            high = min(frontier, entry.end) - entry.first
            freed.tokens += entry.tokens[low:high]
            freed.messages += high - low if entry.handed else 0
        while self._entries and self._entries[0].end <= frontier:
            entry = self._entries.popleft()
            freed.size += entry.batch.size if entry.handed else 0
            if type(entry.batch.items) is not Body:
                freed.items += entry.batch.items
            freed.delay_s = now - entry.sent_at
            self._controls.discard(entry.first)
        self.tombstones.advance(self.frontier, frontier)
        self.frontier = frontier
        for path in self.paths:
            path.advance(frontier)
        self.suspects.forget_below(frontier)
        return freed

    # Where messages are not sent again

    def count_open(self, sent_before: float) -> int:
        """How many places are neither finished nor held, of what left at a time or earlier."""
        return sum(
            end - first
            for entry in self.entries(sent_before)
            for path in self.paths
            for first, end in path.missing(entry.first, entry.end)
        )

    def give_up(self, paths: Iterable[int], sent_before: float, waiting: RangeSet) -> None:
        """Finish events that will not arrive; parameters as in `Redelivery.unfinished`."""
        events = [
            entry for entry in self.entries(sent_before) if entry.batch.header.kind == Kind.EVENTS
        ]
        for path in (self.paths[number] for number in paths):
            for entry in events:
                for gap in path.missing(entry.first, entry.end):
                    for first, end in waiting.missing(*gap):
                        path.finished.add(first, end)
                        self.missing.add(first, end)


class Tombstones:
    """Which messages ended on their way, and why: counts below the frontier, places above it."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        """How many messages of the open run, by reason, as far as the frontier has come."""
        self._above: dict[int, RangeSet] = {}

    def add(self, reason: int, first: int, end: int) -> None:
        """Whole messages ended on one path; those that are only FINISHED did not."""
        if reason != Reason.FINISHED:
            self._above.setdefault(reason, RangeSet()).add(first, end)

    def advance(self, frontier: int, end: int) -> None:
        """Count what the frontier passes on its way to `end`."""
        for reason, ranges in self._above.items():
            count = sum(after - before for before, after in ranges.common(frontier, end))
            if count:
                self.counts[reason] = self.counts.get(reason, 0) + count
            ranges.discard_below(end)

    def count(self, reason: int) -> int:
        """Return how many messages of the open run ended so, above the frontier too."""
        above = self._above.get(reason)
        return self.counts.get(reason, 0) + (0 if above is None else len(above))

    def within(self, first: int, end: int) -> Iterator[Tombstone]:
        """Yield how messages ended, of those from `first` up to `end`."""
        for reason, ranges in self._above.items():
            for gap in ranges.common(first, end):
                yield Tombstone(*gap, Reason(reason))
