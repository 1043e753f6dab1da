"""`Replayable`: recovery of a source whose input can be read again, so that it outlives its death.

PROTOCOL 46 to 51: it notes what its next life has to know before it acts on it (`NoteEntry`), and
that takes up where the former life has ended: the same epoch, the run that was open, the same
sequence for each message that comes again. Stages below see no more than a source that sends again.
PURE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import Kind, Suspect, size_of
from arroyo.errors import StageError
from arroyo.protocol.source.input import InputBatch, Run
from arroyo.protocol.source.ledger import Ledger
from arroyo.protocol.source.recovery_policy import RecoveryPolicy
from arroyo.protocol.source.reliable_sender import ReliableSender
from arroyo.protocol.source.sender_context import SenderContext
from arroyo.protocol.values.actions import Release
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.ranges import RangeSet

from .journal import (
    NO_TOKEN,
    FrontierMoved,
    JournalState,
    Mark,
    NoteEntry,
    ProcessDied,
    RunClosing,
    RunOpened,
    Sent,
    mark_of,
)
from .replay_matcher import Fate, ReplayMatcher
from .unclosed_run import UnclosedRun


class Replayable(RecoveryPolicy):
    """Goes on where the life before has ended.

    `memory`: what the former life has noted; that of a first life knows its epoch only.
    """

    def __init__(self, context: SenderContext, ledger: Ledger, memory: JournalState) -> None:
        self._stage = context.name.stage
        self._emit = context.emit
        self._history = context.history
        self._ledger = ledger
        self._memory = memory
        self._places = list(memory.marks)
        self._first_place = memory.first
        self._replay: ReplayMatcher | None = ReplayMatcher(memory)
        self._resumed = False
        self._held: list[InputBatch] = []
        """What people brought back; it leaves when nothing comes again any more."""
        ledger.sent_before = memory.next
        ledger.attempts = memory.attempts + 1  # resuming is a round of sending again
        ledger.tombstones.counts = dict(memory.ended)
        ledger.missing = RangeSet(memory.missing)
        for suspect in memory.suspects:
            ledger.accuse(suspect)

    @property
    def open_places(self) -> int:
        """How many messages that were in flight have not come again."""
        return 0 if self._replay is None else self._replay.open_places

    # Beginning

    def begin(self, sender: ReliableSender, unclosed: Iterable[UnclosedRun], now: float) -> None:
        """Tell those below again what was open when the former life ended. PROTOCOL 47."""
        memory, sequencer = self._memory, sender.sequencer
        self._history.note("resumes, {} messages come again", self.open_places)
        self._resumed = True
        self._emit(NoteEntry(self._frontier_moved(())))
        # PROTOCOL 48: what the former life may still owe comes before all that this one owes.
        owed = [msgspec.msgpack.decode(mark) for mark in memory.finished]
        self._emit(Release(owed, 0, 0))
        if memory.closed is not None and memory.closing is not None:
            run = self._open_again(sender, memory.closed, now)
            sequencer.last_start = run.start
            stop = InputBatch(Kind.STOP, [memory.closing.item])
            batch = sequencer.make_batch(run, stop, memory.closing.first)
            self._send_again(sender, batch, memory.closing.mark, now)
        if memory.run is not None:
            sequencer.run = self._open_again(sender, memory.run, now)

    def _open_again(self, sender: ReliableSender, opened: RunOpened, now: float) -> Run:
        """Send a Start again: some may have missed it, and who comes up later has to get it."""
        run = Run(opened.run, opened.implicit, opened.base)
        if not opened.implicit:
            start = InputBatch(Kind.START, [opened.item])
            run.start = sender.sequencer.make_batch(run, start, opened.first)
            self._send_again(sender, run.start, opened.mark, now)
        return run

    def _send_again(
        self, sender: ReliableSender, control: OutgoingBatch, mark: Mark, now: float
    ) -> None:
        header = msgspec.structs.replace(control.header, attempt=self._ledger.attempts)
        control.header = header
        if header.ranges[0][0] >= self._ledger.next:
            sender.send(control, (msgspec.msgpack.decode(mark),), now, handed=False)
        else:
            sender.downstream.send(control)  # it is finished

    # What the listener hands over

    def admit(self, intake: InputBatch) -> Iterator[InputBatch]:
        """Yield what has to be sent: what was finished before is only acknowledged."""
        count = max(1, len(intake.items))  # the item of a Stop is made later
        if len(intake.tokens) < count:
            intake.tokens = [*intake.tokens, *(None for _ in range(count - len(intake.tokens)))]
        if self._replay is None:
            yield intake
        elif intake.kind != Kind.EVENTS:
            yield from self._admit_control(intake, self._replay)
        elif intake.enters:
            yield from self._admit_returned(intake, self._replay)
        else:
            yield from self._admit_events(intake, self._replay)

    def _admit_control(self, intake: InputBatch, replay: ReplayMatcher) -> Iterator[InputBatch]:
        mark, run = mark_of(intake.tokens[0]), self._memory.run
        knows = replay.knows_start if intake.kind == Kind.START else replay.knows_stop
        if replay.has_finished(mark):
            self._emit(_release(intake, intake.tokens))
        elif knows(mark):
            # The former life's Start or Stop stands in for it, and brings its token.
            finished = run is not None and mark == run.mark and run.first < self._ledger.frontier
            self._emit(_release(intake, intake.tokens if finished else ()))
        else:
            yield from self.end_replay()
            yield intake

    def _admit_returned(self, intake: InputBatch, replay: ReplayMatcher) -> Iterator[InputBatch]:
        """What people bring back has no place among the old ones."""
        if self._resumed and not replay.open_places:
            yield intake
        else:
            self._held.append(intake)

    def _admit_events(self, intake: InputBatch, replay: ReplayMatcher) -> Iterator[InputBatch]:
        for fate, first, end in replay.sort([mark_of(token) for token in intake.tokens]):
            if fate is Fate.GONE:
                yield _gap(end)
                continue
            piece = _slice(intake, first, end)
            if fate is Fate.FINISHED:
                self._history.note("{} messages came again that were finished", end - first)
                self._emit(_release(piece, piece.tokens))
            else:
                yield piece
        if replay.over:
            yield from self.end_replay()

    def end_replay(self) -> Iterator[InputBatch]:
        """Yield what is sent in place of what was in flight and never comes again. PROTOCOL 49."""
        replay, self._replay = self._replay, None
        if replay is not None:
            left = replay.give_up()
            if left and self._memory.run is not None:
                yield _gap(left)
            held, self._held = self._held, []
            yield from held

    def find_lost(self, first: int, end: int) -> Iterator[int]:
        """Yield the places of messages: those without a token were brought back by people."""
        for number in range(first, end):
            if self._places[number - self._first_place] != NO_TOKEN:
                yield number

    # What is noted

    def note_sending(self, batch: OutgoingBatch, tokens: Sequence[Any]) -> None:
        """Note what the life before has not noted."""
        header, first = batch.header, self._ledger.next
        if first < self._ledger.sent_before:
            return
        marks = tuple(mark_of(token) for token in tokens)
        if header.kind == Kind.START:
            self._emit(NoteEntry(RunOpened(header.run, False, first, batch.items[0], marks[0])))
            return
        if header.implicit and first == header.base:
            self._emit(NoteEntry(RunOpened(header.run, True, first)))
        if header.kind == Kind.STOP:
            self._emit(NoteEntry(RunClosing(first, batch.items[0], marks[0])))
            return
        if NO_TOKEN in marks and not header.enters:
            raise StageError(
                f"{self._stage} has handed over a message without a token; a replayable "
                "listener has to give one with each: process(message, token=...)"
            )
        self._emit(NoteEntry(Sent(first, marks)))

    def note_advance(self, tokens: Sequence[Any]) -> None:
        """Note the frontier, and what is going to be acknowledged."""
        marks = tuple(mark_of(token) for token in tokens if token is not None)
        self._emit(NoteEntry(self._frontier_moved(marks)))

    def note_attempt(self) -> None:
        """Note the attempt: that of the next life is greater."""
        self._emit(NoteEntry(self._frontier_moved(())))

    def note_death(self, suspect: Suspect) -> None:
        """Note what a process has died of."""
        self._emit(NoteEntry(ProcessDied(suspect)))

    def _frontier_moved(self, marks: tuple[Mark, ...]) -> FrontierMoved:
        ledger = self._ledger
        if self._replay is not None:
            # An acknowledgement that the life before may have owed is owed until it comes again.
            marks = (*self._replay.finished, *marks)
        counts, missing = dict(ledger.tombstones.counts), tuple(ledger.missing)
        return FrontierMoved(ledger.frontier, ledger.attempts, counts, missing, marks)


def _gap(count: int) -> InputBatch:
    return InputBatch(Kind.EVENTS, [None] * count, gap=True)


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
