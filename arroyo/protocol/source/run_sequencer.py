"""`RunSequencer`: what a source sends next, and when a run is over. PURE.

What was handed over goes in (`put`); the sender asks for what may leave (`next`) and keeps it in
the ledger. Rules:
- PROTOCOL 17: Start, events and Stop of a run stand in the ledger, numbered in one row.
- PROTOCOL 18: Stop leaves when everything of its run is finished on all paths, so the run is quiet
  by then and nothing can come after it; what was handed over behind it waits.
- PROTOCOL 55: where folds hold what is left, the Stop is announced: they give out what they have,
  and so come to finish it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from arroyo.codec import Batch, Kind, Reason, Tombstone
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.run_totals import RunTotals

from .input import InputBatch, MakeStop, Run
from .ledger import Ledger
from .sender_context import SenderContext
from .stop_announcement import StopAnnouncement


class RunSequencer:
    """The runs of one source, one after the other.

    Parameters
    ----------
    make_early_stop
        Makes what makes the item of a Stop that the listener did not send, of a reason.
    base
        Sequence of the first event of a run without a Start, as that of a fold's outputs: they
        keep the places that they had in the life before. None: where the run begins.
    """

    def __init__(
        self,
        context: SenderContext,
        ledger: Ledger,
        *,
        epoch: int,
        new_run: Callable[[], str],
        make_early_stop: Callable[[str], MakeStop],
        base: int | None = None,
    ) -> None:
        self.epoch = epoch
        self.run: Run | None = None
        self.base = 0
        """Sequence of the first event of the last run."""
        self.last_start: OutgoingBatch | None = None
        """Start of the run whose Stop left last."""
        self.end: int | None = None
        """Sequence of the last Stop, once its run has nothing else to come."""
        self._source = str(context.name)
        self._downstream = context.downstream
        self._ordered = context.ordered
        self._history = context.history
        self._ledger = ledger
        self._new_run = new_run
        self._early_stop = make_early_stop
        self._fixed_base = base
        self._first = ledger.next
        self._tells_first = False
        """Whether the place of the Start is to be told."""
        self._inbox: deque[InputBatch] = deque()
        self._stop: InputBatch | None = None
        """The Stop of the open run, which waits until all of that is finished."""
        self._complete = True
        self.announcement = StopAnnouncement(ledger)
        self._finishing = self._keeps_open = False

    # What is looked at

    @property
    def blocked(self) -> bool:
        """Whether it can't take anything more for now."""
        return bool(self._inbox) or self._downstream.blocked

    @property
    def open_runs(self) -> frozenset[str] | None:
        """Name of the run that has a Start and no Stop yet, if any; None: one is about to end."""
        if self._stop is not None:
            return None
        return frozenset((self.run.name,)) if self.started and self.run else frozenset()

    @property
    def started(self) -> bool:
        """Whether the run that is open has a Start, so that a Stop will end it."""
        return self.run is not None and not self.run.implicit

    @property
    def start_item(self) -> Any:
        """The Start of the run that is open; None where it has none."""
        run = self.run
        return run.start.items[0] if run is not None and run.start is not None else None

    @property
    def waits(self) -> bool:
        """Whether anything that was handed over has not left."""
        return bool(self._inbox) or self._stop is not None

    @property
    def through(self) -> bool:
        """Whether nothing more will be sent, and all that was is finished."""
        if not self._finishing or self.waits:
            return False
        # PROTOCOL 51: of a run that stays open, what folds hold comes again in the next life.
        return self._ledger.empty or (self._keeps_open and self._ledger.quiet)

    # What goes in

    def put(self, intake: InputBatch) -> None:
        """Take what was handed over."""
        self._inbox.append(intake)

    def finish(self, *, keep_open: bool = False) -> None:
        """Nothing more is handed over; `keep_open`: in this life, but the next goes on."""
        self._finishing, self._keeps_open = True, keep_open

    def give_up_stop(self) -> None:
        """Stop waiting for a Stop that is lost above."""
        if self.end is None:
            self.end = self._ledger.next

    # What leaves

    def next(self) -> tuple[OutgoingBatch, InputBatch] | None:
        """Return what leaves now, and of what input it is; None where nothing does.

        What is no entry of the ledger has no sequences, or is of kind CLOSING.
        """
        if self._tells_first:
            self._tells_first = False
            return self.frontier_mark(self._first), InputBatch(Kind.EVENTS)
        if self._stop is None and (self._inbox or self._finishing):
            departure = self._next_input()
            if departure is not None:
                return departure
        if self._stop is None:
            announced = self.announcement.make_stop
            return None if announced is None else self._announce(announced)
        self.end = self._ledger.next
        if self._ledger.empty:
            return self._take_stop(self._stop)
        return None if self._stop.make_stop is None else self._announce(self._stop.make_stop)

    def _next_input(self) -> tuple[OutgoingBatch, InputBatch] | None:
        """Return what leaves of the inbox; a Stop is put aside until its run is finished."""
        while self._stop is None and (self._inbox or self._finishing):
            kind, run = self._inbox[0].kind if self._inbox else None, self.run
            if run is not None and (kind is None or kind == Kind.START):
                if not run.implicit:
                    if kind is not None or not self._keeps_open:
                        self._close_early(kind)
                    return None
                # No Stop says that it is over, but folds have to give out what they hold of it.
                announcement = None if self._keeps_open else self._announce(self._early_stop(""))
                if announcement is not None or not self._ledger.empty:
                    return announcement
            if kind is None or self._downstream.blocked:
                return None
            intake = self._inbox.popleft()
            if kind == Kind.STOP:
                self._stop, self._complete = intake, True
            elif kind == Kind.CLOSING:
                self.announcement.note(intake.make_stop)
            else:
                return self._take(intake)
        return None

    def _close_early(self, kind: Kind | None) -> None:
        """PROTOCOL 19: the open run ends without the listener's Stop."""
        reason = "the source ended in mid-run"
        if kind is not None:
            reason = "another Start came before the Stop"
        self._history.note("ends the run early: {}", reason)
        self._stop = InputBatch(Kind.STOP, tokens=(None,), make_stop=self._early_stop(reason))
        self._complete = False

    def _take(self, intake: InputBatch) -> tuple[OutgoingBatch, InputBatch]:
        if intake.kind == Kind.START or self.run is None:
            self.run = self._open_run(implicit=intake.kind != Kind.START)
        batch = self.make_batch(self.run, intake, self._ledger.next)
        if intake.kind == Kind.START:
            self.run.start = batch
            self._tells_first = self._stands_inside(self.run) and self._ordered
        return batch, intake

    def _open_run(self, *, implicit: bool) -> Run:
        self.announcement.begin_run()
        self._ledger.begin_run()
        first = self._ledger.next if self._fixed_base is None else self._fixed_base
        self.base = first if implicit else first + 1
        run = Run(self._new_run(), implicit, self.base)
        self._history.note("opened run {}, implicit: {}", run.name, implicit)
        return run

    def _take_stop(self, intake: InputBatch) -> tuple[OutgoingBatch, InputBatch]:
        """PROTOCOL 18: the Stop leaves once all of its run is finished on all paths."""
        assert intake.make_stop is not None
        self._stop = None
        run, self.run = self.run, None
        if run is None:
            run = self._open_run(implicit=True)
        intake.items = [intake.make_stop(self._totals(run))]
        if run.start is not None and self._downstream.reliable:
            self.last_start = run.start
        self._history.note("closed run {}, complete: {}", run.name, self._complete)
        return self.make_batch(run, intake, self._ledger.next), intake

    def _totals(self, run: Run) -> RunTotals:
        sent = self._ledger.next - run.base
        totals = RunTotals.of(sent, self._ledger.tombstones.counts, complete=self._complete)
        totals.note_missing(self._ledger.missing, run.base)
        return totals

    def _announce(self, make_stop: MakeStop) -> tuple[OutgoingBatch, InputBatch] | None:
        run = self.run
        attempt = None if run is None else self.announcement.begin_round(run)
        if run is None or attempt is None:
            return None
        self._history.note("announces the Stop of run {}, round {}", run.name, attempt)
        intake = InputBatch(Kind.CLOSING, [make_stop(self._totals(run))])
        batch = self.make_batch(run, intake, self._ledger.next)
        batch.header = msgspec.structs.replace(
            batch.header, attempt=attempt, holders=self._ledger.holders
        )
        return batch, intake

    # Batches

    def make_batch(self, run: Run, intake: InputBatch, first: int) -> OutgoingBatch:
        """Return an input as a batch of a run, whose sequences begin with `first`."""
        header = Batch(
            sender="",
            link=0,
            number=0,
            kind=intake.kind,
            run=run.name,
            source=self._source,
            epoch=self.epoch,
            base=run.base,
            frontier=self._ledger.frontier,
            path=0,
            implicit=run.implicit,
            ranges=((first, first + len(intake.items)),),
            enters=intake.enters,
            handed_ns=intake.handed_ns,
            returned=intake.returned,
        )
        return OutgoingBatch(header, intake.items, intake.size, intake.keys)

    def make_tombstones(self, *places: tuple[int, int]) -> OutgoingBatch:
        """Return what tells those that restore the order that nothing comes at these places."""
        run = self.run or Run("", True, 0)
        header = self.make_batch(run, InputBatch(Kind.EVENTS), self._ledger.frontier).header
        stones = tuple(Tombstone(*place, Reason.FINISHED) for place in places)
        return OutgoingBatch(msgspec.structs.replace(header, ranges=(), tombstones=stones))

    def frontier_mark(self, frontier: int) -> OutgoingBatch:
        """Tell a restarted stage that restores order where to begin, if nothing else does.

        PROTOCOL 23.
        """
        mark = (frontier - 1, frontier)
        if self.run is None or not self._stands_inside(self.run):
            return self.make_tombstones(mark)
        return self.make_tombstones(mark, (self._first, self._first + 1))

    def _stands_inside(self, run: Run) -> bool:
        """Whether the Start is amid its run's sequences: stages below would wait for its place."""
        return self._fixed_base is not None and self._first > run.base - 1 and not run.implicit

    def behind_start(self, batch: OutgoingBatch) -> Sequence[OutgoingBatch]:
        """Return a batch that leaves again, a Stop behind its Start.

        PROTOCOL 24: a replica that came up after the Stop went by must hear of the Start first.
        """
        start = self.last_start
        if batch.header.kind != Kind.STOP or not batch.items or start is None:
            return (batch,)
        if start.header.run != batch.header.run:
            return (batch,)
        header = msgspec.structs.replace(start.header, attempt=batch.header.attempt)
        return OutgoingBatch(header, start.items, start.size), batch
