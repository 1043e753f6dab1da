"""`ReplayableSource`: a source whose input can be read again, so that it outlives its death. PURE.

PROTOCOL 46 to 51: it notes what its next life has to know before it acts on it (`Note`), and that
takes up where the former life has ended: the same epoch, the run that was open, the same sequence
for each message that comes again. Stages below see no more than a source that sends again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from arroyo.codec import Kind, Reason, Suspect, Tombstone, size_of
from arroyo.errors import StageError
from arroyo.protocol.source.input import InputBatch, MakeStop, Run
from arroyo.protocol.source.loss import Redeliver
from arroyo.protocol.source.reliable_sender import Surroundings
from arroyo.protocol.source.run_sender import RunSender
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.actions import Action, PutInQuarantine, Release
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.run_totals import RunTotals

from .journal import (
    NO_TOKEN,
    Accused,
    JournalState,
    Mark,
    Note,
    Progress,
    RunClosing,
    RunOpened,
    Sent,
    mark_of,
)
from .replay_matcher import Fate, Part, ReplayMatcher


class ReplayableSender(RunSender):
    """What a listener replica with a replayable input sends.

    Parameters
    ----------
    memory
        What the former life has noted; that of a first life knows its epoch only.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        memory: JournalState,
        new_run: Callable[[], str],
        make_early_stop: Callable[[str], MakeStop],
    ) -> None:
        super().__init__(
            surroundings,
            epoch=memory.epoch,
            loss=Redeliver(),
            new_run=new_run,
            make_early_stop=make_early_stop,
            first=memory.frontier,
        )
        self.ledger.buried = dict(memory.buried)
        self.ledger.sent_before = memory.next
        for suspect in memory.suspects:
            self.ledger.accuse(suspect)
        self._attempts = memory.attempts + 1  # resuming is a round of sending again
        self._memory = memory
        self._places = list(memory.marks)
        self._first_place = memory.first
        self._noted = memory.next
        self._missing = list(memory.missing)
        self._replay: ReplayMatcher | None = ReplayMatcher(memory)
        self._resumed = False
        self._held: list[InputBatch] = []
        self._ending: bool | None = None
        self._resumes = False

    @property
    def open_places(self) -> int:
        """How many messages that were under way have not come again yet."""
        return 0 if self._replay is None else self._replay.open_places

    # Beginning

    def resume(self, now: float) -> None:
        """Tell those below again what was open when the former life ended. PROTOCOL 47."""
        memory = self._memory
        self._resumed = True
        self._emit(Note(self._progress((), self._attempts)))
        # PROTOCOL 48: what the former life may still owe comes before all that this one owes.
        owed = [msgspec.msgpack.decode(mark) for mark in memory.finished]
        self._emit(Release(owed, 0, 0))
        if memory.closed is not None and memory.closing is not None:
            run = self._open_again(memory.closed)
            self._tell_start(run, memory.closed, now)
            self._last_start = run.start
            item = InputBatch(Kind.STOP, [memory.closing.item])
            stop = self._again(self._batch(run, item, memory.closing.first))
            self._ship_again(stop, memory.closing.mark, now)
        if memory.run is not None:
            self._run = run = self._open_again(memory.run)
            self._tell_start(run, memory.run, now)

    def _open_again(self, opened: RunOpened) -> Run:
        run = Run(opened.run, opened.implicit, opened.base)
        if not opened.implicit:
            start = self._batch(run, InputBatch(Kind.START, [opened.item]), opened.first)
            run.start = self._again(start)
        return run

    def _tell_start(self, run: Run, opened: RunOpened, now: float) -> None:
        """Send a Start again: some may have missed it, and who comes up later has to get it."""
        if run.start is None:
            return
        if opened.first >= self.ledger.next:
            self._ship_again(run.start, opened.mark, now)
        else:
            self._downstream.send(run.start)

    def _ship_again(self, batch: OutgoingBatch, mark: Mark, now: float) -> None:
        token = msgspec.msgpack.decode(mark)
        self._ship(batch, (token,), now, handed=False)

    def _again(self, batch: OutgoingBatch) -> OutgoingBatch:
        header = msgspec.structs.replace(batch.header, attempt=self._attempts)
        return OutgoingBatch(header, batch.items, batch.size, batch.keys)

    # What comes from the listener

    def accept(self, intake: InputBatch, now: float) -> None:
        """Take what the listener handed over; a Start or Stop may be known already."""
        count = max(1, len(intake.items))  # the item of a Stop is made later
        if len(intake.tokens) < count:
            intake.tokens = [*intake.tokens, *(None for _ in range(count - len(intake.tokens)))]
        if self._replay is not None and intake.kind != Kind.EVENTS:
            mark = mark_of(intake.tokens[0])
            if self._replay.has_finished(mark):
                self._emit(_release(intake, intake.tokens))
                return
            starts = intake.kind == Kind.START
            if self._replay.knows_start(mark) if starts else self._replay.knows_stop(mark):
                self._drop_known(intake, mark)
                return
            self._give_up(now)
        super().accept(intake, now)

    def _drop_known(self, intake: InputBatch, mark: Mark) -> None:
        """The former life's Start or Stop stands in for it, and brings its token."""
        run = self._memory.run
        finished = run is not None and mark == run.mark and run.first < self.ledger.frontier
        self._emit(_release(intake, intake.tokens if finished else ()))

    def _send(self, intake: InputBatch, now: float) -> None:
        if intake.kind != Kind.EVENTS or self._replay is None:
            super()._send(intake, now)
            return
        if intake.enters:
            # What people bring back has no place among the old ones.
            if self._resumed and not self._replay.open_places:
                super()._send(intake, now)
            else:
                self._held.append(intake)
            return
        for part in self._replay.sort([mark_of(token) for token in intake.tokens]):
            self._send_part(intake, part, now)
        if self._replay is not None and self._replay.over:
            self._give_up(now)

    def _send_part(self, intake: InputBatch, part: Part, now: float) -> None:
        if part.fate is Fate.GONE:
            self._pass_over(part.end, now)
            return
        piece = _slice(intake, part.first, part.end)
        if part.fate is Fate.FINISHED:
            self.history.note("{} messages came again that were finished", part.end - part.first)
            self._emit(_release(piece, piece.tokens))
        else:
            super()._send(piece, now)

    def _give_up(self, now: float) -> None:
        """What was under way and has not come again never will. PROTOCOL 49."""
        replay, self._replay = self._replay, None
        if replay is not None:
            self._pass_over(replay.give_up(), now)
            held, self._held = self._held, []
            for intake in held:
                super()._send(intake, now)

    def _pass_over(self, count: int, now: float) -> None:
        if not count or self._run is None:
            return
        first = self.ledger.next
        self.history.note("passes over {} messages from {}: they did not come again", count, first)
        at = first - self._first_place
        lost = [first + i for i in range(count) if self._places[at + i] != NO_TOKEN]
        self.lost += len(lost)
        self._missing += [(number, number + 1) for number in lost]
        places = self._batch(self._run, InputBatch(Kind.EVENTS, [None] * count), first)
        self.ledger.pass_over(places, count, now)
        if self._ordered:
            stone = Tombstone(first, first + count, Reason.FINISHED)
            header = msgspec.structs.replace(places.header, ranges=(), tombstones=(stone,))
            self._downstream.send_reliably(OutgoingBatch(header))
        self._advance(now)

    # What is noted

    def _note_sending(self, batch: OutgoingBatch, tokens: Sequence[Any]) -> None:
        if self.ledger.next >= self._noted:
            self._note(batch, tokens)
            self._noted = self.ledger.next + len(batch.items)

    def _expand_first(self, batch: OutgoingBatch) -> Iterable[OutgoingBatch]:
        if batch.header.kind != Kind.EVENTS or batch.header.enters:
            return (batch,)
        for first, end in batch.header.ranges:
            for suspect, deaths in list(self.ledger.find_fatal(first, end)):
                # The former life may have died before it was in quarantine; twice does no harm.
                item = batch.items[suspect.sequence - first]
                self._ask_quarantine(PutInQuarantine(batch.header, item, suspect, deaths))
        return self.ledger.part(batch)

    def suspect(self, suspect: Suspect) -> None:
        """A process has died of a message; the next life has to know."""
        if suspect.source == str(self.name) and suspect.epoch == self.epoch:
            self._emit(Note(Accused(suspect)))
        super().suspect(suspect)

    def _note(self, batch: OutgoingBatch, tokens: Sequence[Any]) -> None:
        header, first = batch.header, self.ledger.next
        marks = tuple(mark_of(token) for token in tokens)
        if header.kind == Kind.START:
            self._missing = []
            self._emit(Note(RunOpened(header.run, False, first, batch.items[0], marks[0])))
            return
        if header.implicit and first == header.base:
            self._missing = []
            self._emit(Note(RunOpened(header.run, True, first)))
        if header.kind == Kind.STOP:
            self._emit(Note(RunClosing(first, batch.items[0], marks[0])))
            return
        if NO_TOKEN in marks and not header.enters:
            raise StageError(
                f"{self.name.stage} has handed over a message without a token; a replayable "
                "listener has to give one with each: process(message, token=...)"
            )
        self._emit(Note(Sent(first, marks)))

    def _note_advance(self, tokens: Sequence[Any]) -> None:
        marks = tuple(mark_of(token) for token in tokens if token is not None)
        self._emit(Note(self._progress(marks, self._attempts)))

    def _send_again(self, before: float, now: float) -> None:
        self._emit(Note(self._progress((), self._attempts + 1)))
        super()._send_again(before, now)

    def _progress(self, marks: tuple[Mark, ...], attempts: int) -> Progress:
        buried, missing = dict(self.ledger.buried), tuple(self._missing)
        if self._replay is not None:
            # An acknowledgement that the life before may have owed is owed until it comes again.
            marks = (*self._replay.finished, *marks)
        return Progress(self.ledger.frontier, attempts, buried, missing, marks)

    # Ends

    def finish(self, now: float, *, final: bool = True, resumes: bool = False) -> None:
        """The listener has ended; `resumes`: but its input has not, so that its run stays open."""
        self._ending, self._resumes = final, resumes
        self.work(now)

    def work(self, now: float) -> None:
        """Send what can be sent now, and end when all that was handed over has left."""
        super().work(now)
        if self._ending is not None and not self._inbox:
            final, self._ending = self._ending, None
            if not self._resumes:
                self._give_up(now)
            super().finish(now, final=final)

    def _has_nothing_open(self) -> bool:
        # What folds hold comes again in the next life.
        return super()._has_nothing_open() or (self._resumes and self.ledger.quiet)

    def _reason_to_close(self) -> str | None:
        if self._resumes and not self._inbox:
            return None
        return super()._reason_to_close()

    def _end_implicit_run(self) -> None:
        if not self._resumes:
            super()._end_implicit_run()

    def _totals(self, run: Run) -> RunTotals:
        totals = super()._totals(run)
        totals.note_missing(self._missing, run.base)
        return totals


class ReplayableSource(Source[ReplayableSender]):
    """One listener replica with a replayable input; see `Source` for what it does otherwise."""

    @property
    def open_places(self) -> int:
        """How many messages that were under way have not come again yet."""
        return self._sender.open_places

    def resume(self, now: float) -> list[Action]:
        """Everything below is there: tell it again what was open when the former life ended.

        To be called once, before the listener hands over anything.
        """
        self._history.now = now
        self._history.note("resumes, {} messages come again", self.open_places)
        self._sender.resume(now)
        return self._outbox.take()

    def finish(self, now: float, *, final: bool = True, resumes: bool = False) -> list[Action]:
        """The listener has ended; `resumes`: but its input has not, so that its run stays open."""
        self._history.now = now
        self._sender.finish(now, final=final, resumes=resumes)
        return self._outbox.take()


def _release(intake: InputBatch, tokens: Sequence[Any]) -> Release:
    return Release(tokens, len(intake.tokens), intake.size, intake.items)


def _slice(intake: InputBatch, first: int, end: int) -> InputBatch:
    if end - first == len(intake.items):
        return intake
    keys = None if intake.keys is None else intake.keys[first:end]
    items, tokens = intake.items[first:end], intake.tokens[first:end]
    return msgspec.structs.replace(
        intake, items=items, tokens=tokens, size=size_of(items), keys=keys
    )
