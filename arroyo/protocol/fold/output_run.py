"""`OutputRun`: what a fold is towards the stages below: a source, anew for each run. PURE.

Runs that overlap above do so below as well, so each has its own ledger and its own row of
sequences, in an epoch of its own (PROTOCOL 56). The links are shared, and are the business of
`FoldOutputs`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arroyo.codec import Kind, Reason, Tombstone
from arroyo.protocol.source.input import InputBatch, MakeStop, Run
from arroyo.protocol.source.loss import Redeliver
from arroyo.protocol.source.reliable_sender import Surroundings
from arroyo.protocol.source.run_sender import RunSender
from arroyo.protocol.values.batches import OutgoingBatch

from .state import OpenOutputs


class OutputRun(RunSender):
    """The outputs of a fold that belong to one run.

    Parameters
    ----------
    run
        Its name, the same as above.
    former
        What the life before left of it: then it goes on from there.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        epoch: int,
        run: str,
        former: OpenOutputs | None,
        make_early_stop: Callable[[str], MakeStop],
    ) -> None:
        # The row begins where the next output keeps the number that it would have had.
        self._first = 0 if former is None else former.finished
        super().__init__(
            surroundings,
            epoch=epoch,
            loss=Redeliver(),
            new_run=lambda: run,
            make_early_stop=make_early_stop,
            first=self._first,
        )
        self._announced: MakeStop | None = None
        self._announced_at = 0
        self._base = 0
        self._end: int | None = None
        """Place of the Stop, behind the last output; None where it has not been given out."""
        self._followed = False
        self.handed_ns = 0
        """When the oldest input was handed over that is in no output yet; 0: nobody knows."""

    @property
    def started(self) -> bool:
        """Whether the run that is open has a Start, so that a Stop will end it."""
        return self._run is not None and not self._run.implicit

    @property
    def over(self) -> bool:
        """Whether its run has ended, and all of it is finished.

        One without a Start has no Stop either: it is over when it was followed, or its end has
        been announced. If more comes of it all the same, that is given out as by the next life,
        under the numbers that follow.
        """
        unstopped_end = not self.started and (self._followed or self._has_told_its_end())
        return (
            (self._end is not None or unstopped_end)
            and self.ledger.empty
            and not self._inbox
            and self._closing is None
        )

    def _has_told_its_end(self) -> bool:
        """Whether the stages below have heard that all of it is finished, as it still is."""
        if self._announced is None or self._announced_at != self.ledger.next:
            return False
        return self._run is None or self._closing_told > self._attempts

    def follow(self) -> None:
        """Other runs of the same source above have begun, so nothing more comes of this one."""
        self._followed = True

    def give_up(self) -> None:
        """Wait for no Stop any more: that of the source above is lost."""
        if self._end is None:
            self._end = self.ledger.next

    @property
    def finished(self) -> int:
        """How many outputs of the run are finished, those of former lives counted."""
        frontier = self.ledger.frontier
        end = frontier if self._end is None else min(frontier, self._end)
        return max(self._first, end - self._base)

    # Where it differs from a listener's

    def _say_end(self) -> None:
        """Other runs may go on."""

    def _open_run(self, *, implicit: bool) -> Run:
        self._announced = None
        run = super()._open_run(implicit=implicit)
        self._base = run.base = 0 if implicit else 1
        return run

    def _send(self, intake: InputBatch, now: float) -> None:
        if intake.kind == Kind.CLOSING:
            if self._announced is not None and self.ledger.next > self._announced_at:
                # It has given out more since then, after the death of a fold further above.
                self._attempts = max(self._attempts, self._closing_told + 1)
            self._announced, self._announced_at = intake.make_stop, self.ledger.next
            return
        super()._send(intake, now)
        if intake.kind == Kind.START and self._first and self._ordered:
            self._downstream.send_reliably(self._frontier_mark(self._first))

    def _frontier_mark(self, frontier: int) -> OutgoingBatch:
        """Tell the place of the Start as well: it is in the midst of the run's sequences."""
        mark = super()._frontier_mark(frontier)
        if not self._first or self._run is None or self._run.implicit:
            return mark
        start = Tombstone(self._first, self._first + 1, Reason.FINISHED)
        stones = (*mark.header.tombstones, start)
        return OutgoingBatch(msgspec.structs.replace(mark.header, tombstones=stones))

    def _try_stop(self, now: float) -> None:
        if self._closing is not None:
            self._end = self.ledger.next  # what comes behind it would be of another run
        super()._try_stop(now)
        if self._closing is None and self._announced is not None:
            self._announce_stop(self._announced)
