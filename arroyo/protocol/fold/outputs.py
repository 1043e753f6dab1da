"""`FoldOutputs`: a fold as the stages below see it: a source for each run, by the same links. PURE.

It owns the outlets, hears what comes back from below, and lets go of a run when that is over. What
is finished by it comes out as `Release`, whose tokens are the business of the `Fold`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from arroyo.codec import Ack, BackRecord, Bye, Credit, Hello, Lost, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.receiving import run_gate
from arroyo.protocol.sending.dispatcher import Dispatcher
from arroyo.protocol.sending.publication import Publication
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values import bounded_table as recent
from arroyo.protocol.values.actions import Action

from .output_run import OutputRun
from .state import OpenOutputs

FORMER_RUNS = 64
"""So many runs are remembered that are over, or of which this life has heard nothing."""


class FoldOutputs:
    """What one replica of a fold gives out.

    Parameters
    ----------
    incarnation
        Which life this is.
    outlets, publication
        To the stages below.
    make_source
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
        incarnation: int,
        outlets: Sequence[Dispatcher],
        publication: Publication | None,
        make_source: Callable[[str, OpenOutputs | None], OutputRun],
        former: Sequence[OpenOutputs],
        listeners: Collection[str],
    ) -> None:
        self._incarnation = incarnation
        self._outlets = {outlet.stage: outlet for outlet in outlets}
        self._publication = publication
        self._make_source = make_source
        self._former = {(each.source, each.run): each for each in former}
        self._listeners = listeners
        self._lives: dict[ReplicaName, int] = {}
        self._final: bool | None = None
        self.sources: dict[tuple[str, str], OutputRun] = {}
        """What it is to the stages below, by source and run above; the last used at the end."""

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent."""
        return any(outlet.blocked for outlet in self._outlets.values())

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

    def connect(self) -> Iterator[Action]:
        """Make the links."""
        for outlet in self._outlets.values():
            yield from outlet.connect(self._incarnation)

    def end(self, now: float, *, final: bool) -> Iterator[Action]:
        """Nothing more will be given out: End follows when all that was is finished."""
        if self._final is None:
            self._final = final
            for source in self.sources.values() if final else ():
                yield from source.finish(now)
        yield from self._try_end()

    def _try_end(self) -> Iterator[Action]:
        if self._final is None or not self._has_finished():
            return
        for outlet in self._outlets.values():
            yield from outlet.end(final=self._final)
        if self._publication is not None:
            publication, self._publication = self._publication, None
            yield from publication.end(final=self._final)

    def _has_finished(self) -> bool:
        if self._final:
            return all(each.through for each in self.sources.values())
        return all(each.ledger.quiet and not each.blocked for each in self.sources.values())

    @property
    def ended(self) -> bool:
        """Whether all is finished, and End has left."""
        return (
            self._final is not None
            and self._has_finished()
            and all(outlet.ended for outlet in self._outlets.values())
        )

    # What is given out

    def accept(self, above: str, run: str, intake: InputBatch, now: float) -> Iterator[Action]:
        """Take what is given out of a run of a source above."""
        yield from self.source(above, run).accept(intake, now)
        self._forget_those_over()

    def source(self, above: str, run: str) -> OutputRun:
        """Return what the fold is to the stages below for a run of a source above."""
        key = (above, run)
        source = self.sources.pop(key, None)
        if source is None:
            self._another_begins(above)
            source = self._make_source(run, self._former.pop(key, None))
            for name, incarnation in self._lives.items():
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

    def bury(self, epoch: int, sequence: int) -> None:
        """An output is in quarantine; a tombstone goes in its place from now on."""
        for source in self.sources.values():
            if source.epoch == epoch:
                source.bury(sequence)

    # Time, and what comes from below

    def tick(self, now: float) -> Iterator[Action]:
        """Time has passed: send again what is due."""
        for source in self.sources.values():
            yield from source.tick(now)

    def back(self, record: BackRecord, now: float) -> Iterator[Action]:
        """Take a record from below."""
        if isinstance(record, Ack | Suspect):
            for source in self.sources.values():
                if source.epoch == record.epoch:
                    yield from source.record(record, now)
        elif isinstance(record, Hello):
            yield from self._meet(record, now)
        elif isinstance(record, Lost):
            if record.link is None:
                self._note_loss(now)
            else:
                name = ReplicaName(record.stage, record.replica)
                yield from self.disconnected(name, record.link, now)
        elif isinstance(record, Credit | Bye) and record.stage in self._outlets:
            outlet = self._outlets[record.stage]
            yield from (outlet.credit(record) if isinstance(record, Credit) else outlet.bye(record))
        for source in self.sources.values():
            yield from source.credited(now)
        self._forget_those_over()
        yield from self._try_end()

    def _forget_those_over(self) -> None:
        """Keep the count of their outputs: a Stop comes again to a life that has not said so."""
        for run in [run for run, source in self.sources.items() if source.over]:
            self._former[run] = OpenOutputs(*run, self.sources.pop(run).finished)
        for old in list(self._former)[:-FORMER_RUNS]:
            del self._former[old]

    def disconnected(self, replica: ReplicaName, link: int, now: float) -> Iterator[Action]:
        """The link to a replica below broke."""
        if replica.stage in self._outlets:
            outlet = self._outlets[replica.stage]
            actions, lost = outlet.disconnected(replica.replica, link)
            yield from actions
            if lost:
                self._note_loss(now)

    def _meet(self, hello: Hello, now: float) -> Iterator[Action]:
        if hello.stage in self._outlets:
            actions, broken = self._outlets[hello.stage].hello(hello)
            yield from actions
            if broken:
                self._note_loss(now)
        elif self._publication is not None:
            yield from self._publication.repeat_starts()
        name = ReplicaName(hello.stage, hello.replica)
        for source in self.sources.values() if hello.sticky else ():
            source.ledger.forget_taken(*name, hello.incarnation)
        if self._lives.get(name) not in (None, hello.incarnation):
            self._note_loss(now)
        self._lives[name] = hello.incarnation

    def _note_loss(self, now: float) -> None:
        for source in self.sources.values():
            source.note_loss(now)
