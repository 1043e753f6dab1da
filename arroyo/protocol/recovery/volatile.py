"""`VolatileSource`: a source whose input can't be read again. PURE.

PROTOCOL 27, 41: what it holds dies with it, and its next life has another epoch. What outlives it
is which runs somebody may lack the Stop of (`UnclosedRun`): those it notes before it acts
(`NoteRuns`, `NoteCounts`), and the next life closes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from arroyo.codec import Ack, Kind
from arroyo.protocol.source.input import InputBatch, MakeStop, Run
from arroyo.protocol.source.loss import Loss
from arroyo.protocol.source.reliable_sender import Surroundings
from arroyo.protocol.source.run_sender import RunSender
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.actions import Action
from arroyo.protocol.values.batches import OutgoingBatch

from .unclosed_run import ATTEMPTS_OF_A_LIFE, NoteCounts, NoteRuns, UnclosedRun
from .unclosed_stop import UnclosedStop


class VolatileSender(RunSender):
    """What a listener replica sends that begins anew in each life."""

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        epoch: int,
        loss: Loss,
        new_run: Callable[[], str],
        make_early_stop: Callable[[str], MakeStop],
    ) -> None:
        super().__init__(
            surroundings,
            epoch=epoch,
            loss=loss,
            new_run=new_run,
            make_early_stop=make_early_stop,
        )
        self.controls = 0
        """How many sequences are of no event that the listener handed over in this life."""
        self._former: dict[int, UnclosedStop] = {}
        self._stops: dict[int, UnclosedRun] = {}
        """Runs whose Stop has left and somebody has not acknowledged, by its sequence here."""

    def close_former(self, runs: Iterable[UnclosedRun], now: float) -> None:
        """Send the Stop of each run that former lives have left, behind its Start."""
        if self.ledger.empty:
            self._progress_at = now
        batches = [batch for run in runs for batch in self._enter(run, now)]
        self.history.note("closes {} runs of the lives before", len(self._stops))
        self._note_runs()
        self._note_counts(self.ledger.next)
        for batch in batches:
            self._downstream.send(batch)
        if not self._downstream.reliable:
            self._acknowledge_all(0, now)

    def _enter(self, former: UnclosedRun, now: float) -> tuple[OutgoingBatch, ...]:
        place = self.ledger.next
        # Beyond the attempts of all lives before, though a clock steps back.
        attempt = max(self._incarnation, former.attempt + ATTEMPTS_OF_A_LIFE)
        former = msgspec.structs.replace(former, attempt=attempt)
        run = Run(former.run, former.start is None, former.base)
        start = None
        if former.start is not None:
            start = self._batch(run, InputBatch(Kind.START, [former.start]), place)
        stop = self._batch(run, InputBatch(Kind.STOP, [former.stop]), place)
        stop = OutgoingBatch(msgspec.structs.replace(stop.header, epoch=former.epoch), stop.items)
        self.ledger.add(stop, 1, (None,), now, handed=False)
        self.controls += 1
        self._former[place] = UnclosedStop(former, place, start)
        self._stops[place] = former
        return self._former[place].loads(stop)

    # What is noted

    def _note_runs(self) -> None:
        runs = list(self._stops.values())
        run = self._run
        if run is not None:
            runs.append(UnclosedRun(run.name, self.epoch, run.base, _start_of(run)))
        self._emit(NoteRuns(tuple(runs)))

    def _note_counts(self, end: int) -> None:
        self._emit(NoteCounts(end, self.ledger.frontier, self.controls))

    def _note_begin(self, run: Run) -> None:
        self._note_runs()

    def _note_end(self, run: Run, stop: Any) -> None:
        place = self.ledger.next
        self._stops[place] = UnclosedRun(
            run.name, self.epoch, run.base, _start_of(run), place, place, stop
        )
        self._note_runs()

    def _note_sending(self, batch: OutgoingBatch, tokens: Sequence[Any]) -> None:
        if batch.header.kind != Kind.EVENTS or batch.header.enters:
            self.controls += len(batch.items)
        self._note_counts(self.ledger.next + len(batch.items))

    def _note_advance(self, tokens: Sequence[Any]) -> None:
        if self._stops and next(iter(self._stops)) < self.ledger.frontier:
            for place in [each for each in self._stops if each < self.ledger.frontier]:
                del self._stops[place]
                self._former.pop(place, None)
            self._note_runs()
        self._note_counts(self.ledger.next)

    # Sending again

    def _acknowledge(self, ack: Ack, now: float) -> None:
        if ack.epoch == self.epoch:
            super()._acknowledge(ack, now)
            return
        ranges = tuple(span for stop in self._former.values() for span in stop.translate(ack))
        if ranges:
            ours = msgspec.structs.replace(
                ack, epoch=self.epoch, ranges=ranges, tombstones=(), fragments=()
            )
            super()._acknowledge(ours, now)

    def _expand_again(self, batch: OutgoingBatch) -> Iterable[OutgoingBatch]:
        if batch.header.epoch == self.epoch:
            return super()._expand_again(batch)
        if not batch.items:
            return ()  # a mere place, which nobody waits for
        ((place, _),) = batch.header.ranges
        return self._former[place].loads(batch)


class VolatileSource(Source[VolatileSender]):
    """One listener replica that begins anew in each life; see `Source` for the rest."""

    def close_former(self, runs: Iterable[UnclosedRun], now: float) -> list[Action]:
        """Send the Stop of each run that former lives have left, behind its Start.

        To be called once, before the listener hands over anything.
        """
        self._history.now = now
        self._sender.close_former(runs, now)
        return self._outbox.take()


def _start_of(run: Run) -> Any:
    return None if run.start is None else run.start.items[0]
