"""`RunSender`: what leaves when of a source's runs, and when a run is over. PURE.

Messages go in one after another (`accept`); `ReliableSender` keeps what is sent, and resends.
Rules (PROTOCOL 17, 18):
- Start, events and Stop of a run stand in the ledger, numbered in one row.
- Stop leaves when everything of its run is finished on all paths, so the run is quiet by then
  and nothing can come after it; what was accepted behind it waits. Where folds hold what is
  left, Closing goes before it: they give out what they have, and so come to finish it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from arroyo.codec import Ack, Batch, Kind, Reason, Tombstone
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.run_totals import RunTotals

from .input import InputBatch, MakeStop, Run
from .loss import Loss
from .reliable_sender import ReliableSender, Surroundings


class RunSender(ReliableSender):
    """One row of runs towards the stages below; parameters of `ReliableSender`, and these:

    Parameters
    ----------
    new_run
        Makes a run's name.
    make_early_stop
        Makes what makes the item of a Stop that the listener did not send, of a reason.
    """  # noqa: D400

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        epoch: int,
        loss: Loss,
        new_run: Callable[[], str],
        make_early_stop: Callable[[str], MakeStop],
        first: int = 0,
    ) -> None:
        super().__init__(surroundings, epoch=epoch, loss=loss, first=first)
        self._new_run = new_run
        self._make_early_stop = make_early_stop
        self._inbox: deque[InputBatch] = deque()
        self._run: Run | None = None
        self._closing: InputBatch | None = None
        self._closing_told = -1
        """The round of sending again in which the end of the open run was announced."""
        self._complete = True
        self._last_start: OutgoingBatch | None = None
        self._finishing = False
        self._final = True

    # What the shell looks at

    @property
    def blocked(self) -> bool:
        """Whether it can't take anything more for now."""
        return bool(self._inbox) or self._downstream.blocked

    @property
    def open_runs(self) -> frozenset[str] | None:
        """Name of the run that has a Start and no Stop yet, if any; None: one is about to end."""
        if self._closing is not None:
            return None
        run = self._run
        return frozenset() if run is None or run.implicit else frozenset((run.name,))

    @property
    def through(self) -> bool:
        """Whether nothing more will be sent."""
        return (
            self._finishing
            and not self._inbox
            and self._closing is None
            and self._has_nothing_open()
        )

    def _has_nothing_open(self) -> bool:
        """Whether nobody waits for anything of what was sent."""
        return self.ledger.empty

    # Events

    def accept(self, intake: InputBatch, now: float) -> None:
        """Take what the listener handed over."""
        self._inbox.append(intake)
        self.work(now)

    def finish(self, now: float, *, final: bool = True) -> None:
        """The listener has ended: close its run, and end when everything is finished.

        `final`: it has finished for good; else it only leaves, and the stages below stay.
        PROTOCOL 29, 30.
        """
        self.history.note("the input has ended, for good: {}", final)
        self._finishing, self._final = True, final
        self.work(now)

    # Runs

    def _start_of_run(self) -> Any:
        run = self._run
        return run.start.items[0] if run is not None and run.start is not None else None

    def work(self, now: float) -> None:
        """Send what can be sent now."""
        while self._closing is None and (self._inbox or self._finishing):
            reason = self._reason_to_close()
            if reason is not None:
                self._close_early(reason)
            elif not self._inbox or self._must_wait():
                self._end_implicit_run()
                break
            elif self._inbox[0].kind == Kind.STOP:
                self._closing = self._inbox.popleft()
                self._complete = True
            else:
                self._end_implicit_run()
                self._send(self._inbox.popleft(), now)
        self._try_stop(now)
        if self.through:
            self._say_end()

    def _say_end(self) -> None:
        self._downstream.end(final=self._final)

    def _reason_to_close(self) -> str | None:
        """Why the open run ends without the listener's Stop; None where it does not."""
        if self._run is None or self._run.implicit:
            return None
        if not self._inbox:
            return "the source ended in mid-run"
        if self._inbox[0].kind == Kind.START:
            return "another Start came before the Stop"
        return None

    def _must_wait(self) -> bool:
        """Whether the next intake can't be sent yet."""
        if self._downstream.blocked:
            return True
        # No Stop says that an implicit run is over; it ends when all of it is finished.
        starts = self._inbox[0].kind == Kind.START
        return starts and self._run is not None and not self.ledger.empty

    def _close_early(self, reason: str) -> None:
        self.history.note("ends the run early: {}", reason)
        make_stop = self._make_early_stop(reason)
        self._closing = InputBatch(Kind.STOP, tokens=(None,), make_stop=make_stop)
        self._complete = False

    def _end_implicit_run(self) -> None:
        """No Stop ends it, but folds below have to give out what they hold of it."""
        ends = self._finishing if not self._inbox else self._inbox[0].kind == Kind.START
        if ends and self._run is not None and self._run.implicit:
            self._announce_stop(self._make_early_stop(""))

    def _announce_stop(self, make_stop: MakeStop) -> None:
        """PROTOCOL 55: once all that is not finished is held by folds, they are to give it out.

        Told again after each round of sending again, in which it may have been lost. Where no Stop
        follows it is told once more when all is finished, to those of which nobody knows what
        they hold.
        """
        run, empty = self._run, self.ledger.empty
        if run is None or not self.ledger.quiet or (empty and not run.implicit):
            return
        attempt = self._attempts + empty
        if self._closing_told < attempt:
            self._closing_told = attempt
            self.history.note("announces the Stop of run {}, round {}", run.name, attempt)
            item = make_stop(self._totals(run))
            batch = self._batch(run, InputBatch(Kind.CLOSING, [item]), self.ledger.next)
            header = msgspec.structs.replace(
                batch.header, attempt=attempt, holders=self.ledger.holders
            )
            self._downstream.send(OutgoingBatch(header, batch.items))

    def _send(self, intake: InputBatch, now: float) -> None:
        begins = True
        if intake.kind == Kind.START:
            self.ledger.take_buried()  # of an implicit run: nobody asks for its totals
            self._run = self._open_run(implicit=False)
        elif self._run is None:
            self._run = self._open_run(implicit=True)
        else:
            begins = False
        batch = self._batch(self._run, intake, self.ledger.next)
        if intake.kind == Kind.START:
            self._run.start = batch
        if begins:
            self._note_begin(self._run)
        self._ship(batch, intake.tokens, now)

    # What the next life has to know is noted by those that have one

    def _note_begin(self, run: Run) -> None:
        """Note what has to be known before anything of a run leaves."""

    def _note_sending(self, batch: OutgoingBatch, tokens: Sequence[Any]) -> None:
        pass

    def _note_advance(self, tokens: Sequence[Any]) -> None:
        pass

    def _note_end(self, run: Run, stop: Any) -> None:
        """Note what has to be known before the Stop of a run leaves."""

    # Sending

    def _open_run(self, *, implicit: bool) -> Run:
        self._closing_told = -1
        self._loss.begin_run()
        first = self.ledger.next
        run = Run(self._new_run(), implicit, first if implicit else first + 1)
        self.history.note("opened run {}, implicit: {}", run.name, implicit)
        return run

    def _batch(self, run: Run, intake: InputBatch, first: int) -> OutgoingBatch:
        header = Batch(
            sender="",
            link=0,
            number=0,
            kind=intake.kind,
            run=run.name,
            source=str(self.name),
            epoch=self.epoch,
            base=run.base,
            frontier=self.ledger.frontier,
            path=0,
            implicit=run.implicit,
            ranges=((first, first + len(intake.items)),),
            enters=intake.enters,
            handed_ns=intake.handed_ns,
            returned=intake.returned,
        )
        return OutgoingBatch(header, intake.items, intake.size, intake.keys)

    def _try_stop(self, now: float) -> None:
        """PROTOCOL 18: the Stop leaves once all of its run is finished on all paths."""
        if self._closing is None:
            return
        if not self.ledger.empty:
            assert self._closing.make_stop is not None
            self._announce_stop(self._closing.make_stop)
            return
        intake, self._closing = self._closing, None
        run, self._run = self._run, None
        first = self.ledger.next
        if run is None:
            run = self._open_run(implicit=True)
        assert intake.make_stop is not None
        intake.items = [intake.make_stop(self._totals(run))]
        self.ledger.take_buried()
        batch = self._batch(run, intake, first)
        if run.start is not None and self._downstream.reliable:
            self._last_start = run.start
        self.history.note("closed run {}, complete: {}", run.name, self._complete)
        self._note_end(run, intake.items[0])
        self._ship(batch, intake.tokens, now)
        self.work(now)

    def _totals(self, run: Run) -> RunTotals:
        sent = self.ledger.next - run.base
        totals = RunTotals.of(sent, self.ledger.buried, complete=self._complete)
        self._loss.add_to(totals, run.base)
        return totals

    # Sending again

    def _acknowledge(self, ack: Ack, now: float) -> None:
        if ack.epoch == self.epoch:
            super()._acknowledge(ack, now)

    def _expand_again(self, batch: OutgoingBatch) -> Iterable[OutgoingBatch]:
        start = self._last_start
        if batch.header.kind != Kind.STOP or not batch.items or start is None:
            return (batch,)
        if start.header.run != batch.header.run:
            return (batch,)
        # PROTOCOL 24: a replica that came up after the Stop went by must hear of the Start first.
        header = msgspec.structs.replace(start.header, attempt=batch.header.attempt)
        return OutgoingBatch(header, start.items, start.size), batch

    def _frontier_mark(self, frontier: int) -> OutgoingBatch:
        """Tell a restarted stage that restores order where to begin, if nothing else does."""
        run = self._run or Run("", True, 0)
        mark = self._batch(run, InputBatch(Kind.EVENTS), frontier)
        stone = Tombstone(frontier - 1, frontier, Reason.FINISHED)
        return OutgoingBatch(msgspec.structs.replace(mark.header, ranges=(), tombstones=(stone,)))
