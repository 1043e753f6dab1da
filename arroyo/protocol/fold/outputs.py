"""`FoldOutputs`: a fold as the stages below see it: a source for each run, by the same links. PURE.

It hears what comes back from below, and lets go of a run when that is over. What is finished by it
comes out as `Release`, whose tokens are the business of the `Fold`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from arroyo.codec import BackRecord, Kind, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.receiving import run_gate
from arroyo.protocol.sending.downstream import Downstream, LossSign
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values import bounded_table
from arroyo.protocol.values.deliveries import Output

from .output_run import OutputRun
from .pending_inputs import CoveredInputs
from .state import OpenOutputs

FORMER_RUNS = 64
"""So many runs are remembered that are over, or of which this life has heard nothing."""


class OutputBatch:
    """Outputs that go on together; the last message of each carries what it covers."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._tokens: list[CoveredInputs | None] = []
        self._keys: list[int] = []
        self._size = 0

    def add(self, output: Output, covered: CoveredInputs) -> None:
        """Add what came of one input."""
        self.items += output.items
        self._tokens += [None] * (len(output.items) - 1)
        self._tokens.append(covered)
        self._keys += output.keys
        self._size += output.size

    def as_input(self, handed_ns: int) -> InputBatch:
        """Return them as a source sends them; `handed_ns`: see `InputBatch`."""
        keys = self._keys or None
        return InputBatch(
            Kind.EVENTS, self.items, self._tokens, self._size, keys, handed_ns=handed_ns
        )


class FoldOutputs:
    """What one replica of a fold gives out.

    Parameters
    ----------
    make_run
        Makes what the fold is to the stages below, for a run: of its name, and of
        what the life before left of it.
    listeners
        Names of the sources above that are no folds.
    """

    def __init__(
        self,
        *,
        downstream: Downstream,
        make_run: Callable[[str, OpenOutputs | None], OutputRun],
        former: Sequence[OpenOutputs],
        listeners: Collection[str],
    ) -> None:
        self.downstream = downstream
        self._make_run = make_run
        self._former = {(each.source, each.run): each for each in former}
        self._listeners = listeners
        self._final: bool | None = None
        self.runs: dict[tuple[str, str], OutputRun] = {}
        """What it is to the stages below, by source and run above; the last used at the end."""

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent."""
        return self.downstream.blocked

    @property
    def in_flight(self) -> int:
        """Outputs that are not finished."""
        return sum(each.ledger.next - each.ledger.frontier for each in self.runs.values())

    @property
    def open_runs(self) -> frozenset[str] | None:
        """See `Source.open_runs`; here many may be open at a time."""
        found = [run.sender.sequencer.open_runs for run in self.runs.values()]
        return None if None in found else frozenset().union(*filter(None, found))

    @property
    def counts(self) -> tuple[OpenOutputs, ...]:
        """How many are finished, of each run that the next life has to know."""
        opened = [OpenOutputs(*key, run.finished) for key, run in self.runs.items()]
        return (*list(self._former.values())[-FORMER_RUNS:], *opened)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        dues = (run.sender.deadline for run in self.runs.values())
        return min((due for due in dues if due is not None), default=None)

    # Beginning and end

    def end(self, now: float, *, final: bool) -> None:
        """Nothing more will be given out: End follows when all that was is finished."""
        if self._final is None:
            self._final = final
            for run in self.runs.values() if final else ():
                run.sender.sequencer.finish()
                run.sender.work(now)
        self._try_end()

    def _try_end(self) -> None:
        if self._final is not None and self._has_finished():
            self.downstream.end(final=self._final)

    def _has_finished(self) -> bool:
        if self._final:
            return all(run.sender.sequencer.through for run in self.runs.values())
        return all(
            run.ledger.quiet and not run.sender.sequencer.blocked for run in self.runs.values()
        )

    @property
    def ended(self) -> bool:
        """Whether all is finished, and End has left."""
        return self._final is not None and self._has_finished() and self.downstream.ended

    # What is given out

    def accept(self, above: str, run: str, intake: InputBatch, now: float) -> None:
        """Take what is given out of a run of a source above."""
        sender = self.run(above, run).sender
        sender.sequencer.put(intake)
        sender.work(now)
        self._forget_those_over()

    def run(self, above: str, name: str) -> OutputRun:
        """Return what the fold is to the stages below for a run of a source above."""
        key = (above, name)
        run = self.runs.pop(key, None)
        if run is None:
            self._another_begins(above)
            run = self._make_run(name, self._former.pop(key, None))
            for replica, incarnation in self.downstream.lives.items():
                run.ledger.forget_held(*replica, incarnation)
        self.runs[key] = run
        return run

    def _another_begins(self, above: str) -> None:
        """Another run of a source above begins, which may mean that earlier ones are over."""
        same = [run for (other, _), run in self.runs.items() if other == above]
        for run in same[: -bounded_table.OPEN_RUNS]:
            run.sender.sequencer.give_up_stop()
        # A listener has one run at a time. Those of a fold overlap, one for each listener above
        # it, and their ends are announced; that may be lost, so there are so many at most.
        unannounced = [run for run in same if not run.sender.sequencer.started]
        most = 0 if above in self._listeners else run_gate.CLOSED_RUNS
        for run in unannounced[: max(0, len(unannounced) - most)]:
            run.follow()

    def quarantined(self, suspect: Suspect, *, kept: bool) -> None:
        """`PutInQuarantine` is done for an output, or it can't be kept."""
        for run in self.runs.values():
            if run.sender.epoch == suspect.epoch:
                run.sender.quarantined(suspect.sequence, kept=kept)

    # Time, and what comes from below

    def tick(self, now: float) -> None:
        """Time has passed: send again what is due."""
        for run in self.runs.values():
            if run.sender.tick(now):
                run.sender.work(now)

    def record(self, record: BackRecord, now: float) -> None:
        """Take a record from below."""
        for run in self.runs.values():
            run.sender.record(record, now)
        self._note(self.downstream.record(record), now)
        for run in self.runs.values():
            run.sender.work(now)
        self._forget_those_over()
        self._try_end()

    def _forget_those_over(self) -> None:
        """Keep the count of their outputs: a Stop comes again to a life that has not said so."""
        for key in [key for key, run in self.runs.items() if run.over]:
            self._former[key] = OpenOutputs(*key, self.runs.pop(key).finished)
        for old in list(self._former)[:-FORMER_RUNS]:
            del self._former[old]

    def disconnected(self, replica: ReplicaName, link: int, now: float) -> None:
        """The link to a replica below broke."""
        self._note(self.downstream.disconnected(replica, link), now)

    def _note(self, sign: LossSign, now: float) -> None:
        for run in self.runs.values() if sign else ():
            run.sender.note_loss(now)
