"""`FoldOutputs`: a fold as the stages below see it: a source for each run, by the same links. PURE.

It hears what comes back from below, and lets go of a run when that is over. What is finished by it
comes out as `Release`, whose tokens are the business of the `Fold`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from arroyo.codec import Ack, BackRecord, Bye, Credit, Hello, Lost, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.receiving import run_gate
from arroyo.protocol.sending.downstream import Downstream, Loss
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values import bounded_table as recent

from .output_run import OutputRun
from .state import OpenOutputs

FORMER_RUNS = 64
"""So many runs are remembered that are over, or of which this life has heard nothing."""


class FoldOutputs:
    """What one replica of a fold gives out.

    Parameters
    ----------
    downstream
        All stages below.
    make_run
        Makes what the fold is to the stages below, for a run: of its name, and of
        what the life before left of it.
    former
        What the life before left.
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
        self._downstream = downstream
        self._make_run = make_run
        self._former = {(each.source, each.run): each for each in former}
        self._listeners = listeners
        self._final: bool | None = None
        self.sources: dict[tuple[str, str], OutputRun] = {}
        """What it is to the stages below, by source and run above; the last used at the end."""

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent."""
        return self._downstream.blocked

    @property
    def in_flight(self) -> int:
        """Outputs that are not finished."""
        return sum(each.ledger.next - each.ledger.frontier for each in self.sources.values())

    @property
    def open_runs(self) -> frozenset[str] | None:
        """See `Source.open_runs`; here many may be open at a time."""
        found = [source.open_runs for source in self.sources.values()]
        return None if None in found else frozenset().union(*filter(None, found))

    @property
    def counts(self) -> tuple[OpenOutputs, ...]:
        """How many are finished, of each run that the next life has to know."""
        opened = [OpenOutputs(*run, source.finished) for run, source in self.sources.items()]
        return (*list(self._former.values())[-FORMER_RUNS:], *opened)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        dues = (each.deadline for each in self.sources.values())
        return min((due for due in dues if due is not None), default=None)

    # Beginning and end

    def connect(self) -> None:
        """Make the links."""
        self._downstream.connect()

    def end(self, now: float, *, final: bool) -> None:
        """Nothing more will be given out: End follows when all that was is finished."""
        if self._final is None:
            self._final = final
            for source in self.sources.values() if final else ():
                source.finish(now)
        self._try_end()

    def _try_end(self) -> None:
        if self._final is not None and self._has_finished():
            self._downstream.end(final=self._final)

    def _has_finished(self) -> bool:
        if self._final:
            return all(each.through for each in self.sources.values())
        return all(each.ledger.quiet and not each.blocked for each in self.sources.values())

    @property
    def ended(self) -> bool:
        """Whether all is finished, and End has left."""
        return self._final is not None and self._has_finished() and self._downstream.ended

    # What is given out

    def accept(self, above: str, run: str, intake: InputBatch, now: float) -> None:
        """Take what is given out of a run of a source above."""
        self.source(above, run).accept(intake, now)
        self._forget_those_over()

    def source(self, above: str, run: str) -> OutputRun:
        """Return what the fold is to the stages below for a run of a source above."""
        key = (above, run)
        source = self.sources.pop(key, None)
        if source is None:
            self._another_begins(above)
            source = self._make_run(run, self._former.pop(key, None))
            for name, incarnation in self._downstream.lives.items():
                source.ledger.forget_taken(*name, incarnation)
        self.sources[key] = source
        return source

    def _another_begins(self, above: str) -> None:
        """Another run of a source above begins, which may mean that earlier ones are over."""
        same = [each for (other, _), each in self.sources.items() if other == above]
        for each in same[: -recent.OPEN_RUNS]:
            each.give_up()
        # A listener has one run at a time. Those of a fold overlap, one for each listener above
        # it, and their ends are announced; that may be lost, so there are so many at most.
        unannounced = [each for each in same if not each.started]
        most = 0 if above in self._listeners else run_gate.CLOSED_RUNS
        for each in unannounced[: max(0, len(unannounced) - most)]:
            each.follow()

    def quarantined(self, suspect: Suspect, *, kept: bool) -> None:
        """`PutInQuarantine` is done for an output, or it can't be kept."""
        for source in self.sources.values():
            if source.epoch == suspect.epoch:
                source.quarantined(suspect.sequence, kept=kept)

    # Time, and what comes from below

    def tick(self, now: float) -> None:
        """Time has passed: send again what is due."""
        for source in self.sources.values():
            source.tick(now)

    def record(self, record: BackRecord, now: float) -> None:
        """Take a record from below."""
        if isinstance(record, Ack | Suspect):
            for source in self.sources.values():
                if source.epoch != record.epoch:
                    continue
                if isinstance(record, Ack):
                    source.acknowledge(record, now)
                else:
                    source.suspect(record)
        elif isinstance(record, Hello | Credit | Bye | Lost):
            if isinstance(record, Hello):
                for source in self.sources.values():
                    source.hello(record)
            self._note(self._downstream.record(record), now)
        for source in self.sources.values():
            source.work(now)
        self._forget_those_over()
        self._try_end()

    def _forget_those_over(self) -> None:
        """Keep the count of their outputs: a Stop comes again to a life that has not said so."""
        for run in [run for run, source in self.sources.items() if source.over]:
            self._former[run] = OpenOutputs(*run, self.sources.pop(run).finished)
        for old in list(self._former)[:-FORMER_RUNS]:
            del self._former[old]

    def disconnected(self, replica: ReplicaName, link: int, now: float) -> None:
        """The link to a replica below broke."""
        self._note(self._downstream.disconnected(replica, link), now)

    def _note(self, loss: Loss, now: float) -> None:
        for source in self.sources.values() if loss is not Loss.NONE else ():
            source.note_loss(now)
