"""`Volatile`: recovery of a source whose input can't be read again. PURE.

PROTOCOL 27, 41: what the source holds dies with it, and its next life has another epoch. Only the
runs whose Stop may be lacking outlive it (`UnclosedRun`): it notes them before it acts (`NoteRuns`,
`NoteCounts`), and the next life closes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from arroyo.codec import Ack, Kind
from arroyo.protocol.source.input import InputBatch, Run
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.source.recovery_policy import RecoveryPolicy
from arroyo.protocol.source.reliable_sender import ReliableSender
from arroyo.protocol.source.sender_context import SenderContext
from arroyo.protocol.values.batches import OutgoingBatch

from .unclosed_run import ATTEMPTS_OF_A_LIFE, NoteCounts, NoteRuns, UnclosedRun


class Volatile(RecoveryPolicy):
    """Starts over in each life, and closes what the lives before have left open."""

    def __init__(self, context: SenderContext, ledger: Ledger, *, epoch: int) -> None:
        self._ledger = ledger
        self._epoch = epoch
        self._emit = context.emit
        self._history = context.history
        self._controls = 0
        """How many sequences are of no event that the listener handed over in this life."""
        self._open: UnclosedRun | None = None
        self._former: dict[int, UnclosedStop] = {}
        self._stops: dict[int, UnclosedRun] = {}
        """Runs whose Stop has left and is not finished, by its sequence in this life."""

    # Closing the runs of former lives

    def begin(self, sender: ReliableSender, unclosed: Iterable[UnclosedRun], now: float) -> None:
        """Send the Stop of each run that former lives have left, behind its Start."""
        batches = [batch for run in unclosed for batch in self._enter(sender, run, now)]
        self._history.note("closes {} runs of the lives before", len(self._stops))
        self._note_runs()
        self._emit(NoteCounts(self._ledger.next, self._ledger.frontier, self._controls))
        for batch in batches:
            sender.downstream.send(batch)
        if not sender.downstream.reliable:
            sender.finish_unacknowledged(0, now)

    def _enter(
        self, sender: ReliableSender, former: UnclosedRun, now: float
    ) -> tuple[OutgoingBatch, ...]:
        place = self._ledger.next
        # Beyond the attempts of all lives before, though a clock steps back.
        attempt = max(sender.incarnation, former.attempt + ATTEMPTS_OF_A_LIFE)
        former = msgspec.structs.replace(former, attempt=attempt)
        run = Run(former.run, former.start is None, former.base)
        make_batch = sender.sequencer.make_batch
        start = None
        if former.start is not None:
            start = make_batch(run, InputBatch(Kind.START, [former.start]), place)
        stop = make_batch(run, InputBatch(Kind.STOP, [former.stop]), place)
        stop = OutgoingBatch(msgspec.structs.replace(stop.header, epoch=former.epoch), stop.items)
        sender.enter(stop, (None,), now, handed=False)
        self._controls += 1
        self._former[place] = UnclosedStop(former, place, start)
        self._stops[place] = former
        return self._former[place].batches(stop)

    def restore(self, batch: OutgoingBatch) -> Iterable[OutgoingBatch]:
        """Return Start and Stop of a former life, which come again."""
        if not batch.items:
            return ()  # a mere place in the order, for which no stage waits
        ((place, _),) = batch.header.ranges
        return self._former[place].batches(batch)

    def translate(self, ack: Ack) -> Ack | None:
        """Return what an acknowledgement to a former life finishes in this one."""
        ranges = tuple(span for stop in self._former.values() for span in stop.translate(ack))
        if not ranges:
            return None
        return msgspec.structs.replace(
            ack, epoch=self._epoch, ranges=ranges, tombstones=(), fragments=()
        )

    # What is noted

    def note_sending(self, batch: OutgoingBatch, tokens: Sequence[Any]) -> None:
        """Note a run before its Start leaves, its Stop before that does, and how far it is."""
        header, place = batch.header, self._ledger.next
        if header.kind == Kind.STOP:
            start = self._open.start if self._open is not None else None
            self._stops[place] = UnclosedRun(
                header.run, header.epoch, header.base, start, place, place, batch.items[0]
            )
            self._open = None
            self._note_runs()
        elif header.kind == Kind.START or (header.implicit and place == header.base):
            start = batch.items[0] if header.kind == Kind.START else None
            self._open = UnclosedRun(header.run, header.epoch, header.base, start)
            self._note_runs()
        if header.kind != Kind.EVENTS or header.enters:
            self._controls += len(batch.items)
        end = place + len(batch.items)
        self._emit(NoteCounts(end, self._ledger.frontier, self._controls))

    def note_advance(self, tokens: Sequence[Any]) -> None:
        """Forget the runs whose Stop is finished everywhere."""
        if self._stops and next(iter(self._stops)) < self._ledger.frontier:
            for place in [each for each in self._stops if each < self._ledger.frontier]:
                del self._stops[place]
                self._former.pop(place, None)
            self._note_runs()
        self._emit(NoteCounts(self._ledger.next, self._ledger.frontier, self._controls))

    def _note_runs(self) -> None:
        opened = () if self._open is None else (self._open,)
        self._emit(NoteRuns((*self._stops.values(), *opened)))


class UnclosedStop:
    """Start and Stop of a former run between this life's ledger and the stages below.

    The Stop has a `place` in the ledger of this life, so that it comes again to replicas that were
    away. Below, it has the epoch and the sequence of the former life, by which its run is known.

    `start`: for replicas that have not heard it; None where the run had none.
    """

    def __init__(self, former: UnclosedRun, place: int, start: OutgoingBatch | None) -> None:
        assert former.next is not None
        self.former = former
        self._place = place
        self._number = former.next
        self._start = start

    def batches(self, stop: OutgoingBatch) -> tuple[OutgoingBatch, ...]:
        """Return what leaves for the Stop of this life's ledger."""
        attempt = stop.header.attempt
        last = self._address(stop, attempt)
        return (last,) if self._start is None else (self._address(self._start, attempt), last)

    def _address(self, batch: OutgoingBatch, attempt: int) -> OutgoingBatch:
        former = self.former
        first = self._number if batch.header.kind == Kind.STOP else former.base - 1
        header = msgspec.structs.replace(
            batch.header,
            epoch=former.epoch,
            frontier=former.frontier,
            attempt=former.attempt + attempt,
            ranges=((first, first + 1),),
        )
        return OutgoingBatch(header, batch.items, batch.size)

    def translate(self, ack: Ack) -> tuple[tuple[int, int], ...]:
        """Say of an acknowledgement to the former life what it finishes in this ledger.

        Nothing, where it came too late: of all that the former life has sent, only the Stop
        still counts.
        """
        if ack.taken or ack.epoch != self.former.epoch:
            return ()
        if not any(first <= self._number < end for first, end in ack.ranges):
            return ()
        return ((self._place, self._place + 1),)
