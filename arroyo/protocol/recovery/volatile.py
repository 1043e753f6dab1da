"""`VolatileSource`: a source whose input can't be read again. PURE.

What it holds dies with it, and its next life has another epoch. What outlives it is which runs
somebody may lack the Stop of (`UnclosedRun`): those it notes before it acts (`NoteRuns`), and the
next life closes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import Ack, Kind
from arroyo.protocol.source.input import InputBatch, Run
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.actions import Action
from arroyo.protocol.values.batches import OutgoingBatch

from .unclosed_run import ATTEMPTS_OF_A_LIFE, NoteRuns, UnclosedRun
from .unclosed_stop import UnclosedStop


class VolatileSource(Source):
    """One listener replica that begins anew in each life; see `Source` for the rest."""

    def __init__(self, *args: Any, **wiring: Any) -> None:
        super().__init__(*args, **wiring)
        self.controls = 0
        """How many sequences are of no event that the listener handed over in this life."""
        self._former: dict[int, UnclosedStop] = {}
        self._stops: dict[int, UnclosedRun] = {}
        """Runs whose Stop has left and somebody has not acknowledged, by its sequence here."""

    def close_former(self, runs: Iterable[UnclosedRun], now: float) -> Iterator[Action]:
        """Send the Stop of each run that former lives have left, behind its Start.

        To be called once, before the listener hands over anything.
        """
        if self.ledger.empty:
            self._progress_at = now
        loads = [load for run in runs for load in self._enter(run, now)]
        yield self._note()
        for load in loads:
            yield from self._offer(load)
        if not self._outlets:
            yield from self._acknowledge_all(0, now)

    def _enter(self, former: UnclosedRun, now: float) -> tuple[OutgoingBatch, ...]:
        place = self.ledger.next
        # Beyond the attempts of all lives before, though a clock steps back.
        attempt = max(self._incarnation, former.attempt + ATTEMPTS_OF_A_LIFE)
        former = msgspec.structs.replace(former, attempt=attempt)
        run = Run(former.run, former.start is None, former.base)
        start = None
        if former.start is not None:
            start = self._load(run, InputBatch(Kind.START, [former.start]), place)
        stop = self._load(run, InputBatch(Kind.STOP, [former.stop]), place)
        stop = OutgoingBatch(msgspec.structs.replace(stop.header, epoch=former.epoch), stop.items)
        self.ledger.add(stop, 1, (None,), now, handed=False)
        self.controls += 1
        self._former[place] = UnclosedStop(former, place, start)
        self._stops[place] = former
        return self._former[place].loads(stop)

    # What is noted

    def _note(self) -> NoteRuns:
        runs = list(self._stops.values())
        run = self._run
        if run is not None:
            runs.append(UnclosedRun(run.name, self.epoch, run.base, _start_of(run)))
        return NoteRuns(tuple(runs))

    def _run_begins(self, run: Run) -> Iterator[Action]:
        yield self._note()

    def _run_ends(self, run: Run, stop: Any) -> Iterator[Action]:
        place = self.ledger.next
        self._stops[place] = UnclosedRun(
            run.name, self.epoch, run.base, _start_of(run), place, place, stop
        )
        yield self._note()

    def _ship(
        self, load: OutgoingBatch, tokens: Sequence[Any], now: float, *, handed: bool = True
    ) -> Iterator[Action]:
        if load.header.kind != Kind.EVENTS or load.header.enters:
            self.controls += len(load.items)
        yield from super()._ship(load, tokens, now, handed=handed)

    def _advance(self, now: float) -> Iterator[Action]:
        for action in super()._advance(now):
            if self._stops and next(iter(self._stops)) < self.ledger.frontier:
                for place in [each for each in self._stops if each < self.ledger.frontier]:
                    del self._stops[place]
                    self._former.pop(place, None)
                yield self._note()
            yield action

    # Sending again

    def _acknowledge(self, ack: Ack, now: float) -> Iterator[Action]:
        if ack.epoch == self.epoch:
            yield from super()._acknowledge(ack, now)
            return
        ranges = tuple(span for stop in self._former.values() for span in stop.translate(ack))
        if ranges:
            ours = msgspec.structs.replace(
                ack, epoch=self.epoch, ranges=ranges, tombstones=(), fragments=()
            )
            yield from super()._acknowledge(ours, now)

    def _loads_again(self, load: OutgoingBatch) -> Iterable[OutgoingBatch]:
        if load.header.epoch == self.epoch:
            return super()._loads_again(load)
        if not load.items:
            return ()  # a mere place, which nobody waits for
        ((place, _),) = load.header.ranges
        return self._former[place].loads(load)


def _start_of(run: Run) -> Any:
    return None if run.load is None else run.load.items[0]
