"""`FoldSource`: what a fold is towards the stages below: a source of its own. PURE.

A fold has one for each source above it, so that runs that overlap above do so below. The outlets
are shared among them, and are the business of the `Boundary`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from arroyo.codec import Kind
from arroyo.identifiers import ReplicaName

from .actions import Action
from .runs import FormerRun, Intake, MakeStop, Run
from .source import Source


class FoldSource(Source):
    """The outputs of one fold that come of one source above.

    Parameters
    ----------
    former
        What the life before left open: if the same run is told again, it goes on.
    """

    def __init__(self, name: ReplicaName, *, former: FormerRun | None, **wiring: Any) -> None:
        super().__init__(name, first=0 if former is None else former.frontier, **wiring)
        self._former = former
        self._announced: MakeStop | None = None
        self._waiting: dict[str, tuple[bool, deque[Intake]]] = {}
        """Runs that have begun above and not ended here, with what waits of each."""

    @property
    def through(self) -> bool:
        """Whether nothing more will be sent."""
        return self._is_through()

    def take(self, intake: Intake, now: float, *, implicit: bool) -> Iterator[Action]:
        """Take what the fold gives out of a run; it waits until the runs before have ended."""
        _, waiting = self._waiting.setdefault(intake.run, (implicit, deque()))
        waiting.append(intake)
        while self._waiting:
            run, (implicit, queue) = next(iter(self._waiting.items()))
            while queue and run in self._waiting:
                each = queue.popleft()
                if each.kind == Kind.STOP:
                    del self._waiting[run]
                yield from self.accept(each, now)
            if run in self._waiting:
                if not implicit or len(self._waiting) == 1:
                    return
                del self._waiting[run]  # it needs no Stop

    def credited(self, now: float) -> Iterator[Action]:
        """There is room again below."""
        yield from self._work(now)

    def meet(self, name: ReplicaName, incarnation: int, now: float) -> Iterator[Action]:
        """A replica below has said Hello."""
        if self._lives.get(name) not in (None, incarnation):
            self._note_loss(now)
        self._lives[name] = incarnation
        self.ledger.forget_taken(*name, incarnation)
        yield from self._work(now)

    def note_loss(self, now: float) -> None:
        """Something was lost on a link below."""
        self._note_loss(now)

    @property
    def progress(self) -> FormerRun | None:
        """What the next life has to know to go on with the open run."""
        run = self._run
        if run is None:
            return None
        return FormerRun(run.name, self.epoch, run.base, self.ledger.next, self.ledger.frontier)

    # Where it differs from a listener's

    def _say_end(self) -> Iterator[Action]:
        yield from ()  # the other sources of the fold may not have finished

    def _open_run(self, intake: Intake, *, implicit: bool) -> Run:
        run = super()._open_run(intake, implicit=implicit)
        self._announced = None
        former, self._former = self._former, None
        if former is not None and former.run == run.name and former.frontier >= former.base:
            # Its Start takes a place in the row once more, which must not count in the run.
            run.base = former.base if implicit else former.base + 1
        return run

    def _send(self, intake: Intake, now: float) -> Iterator[Action]:
        if intake.kind == Kind.CLOSING:
            self._announced = intake.make_stop
        else:
            yield from super()._send(intake, now)

    def _try_stop(self, now: float) -> Iterator[Action]:
        yield from super()._try_stop(now)
        if self._closing is None and self._announced is not None:
            yield from self._announce_stop(self._announced)
