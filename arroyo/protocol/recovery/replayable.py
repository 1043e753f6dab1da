"""`ReplayableSource`: a source whose input can be read again, so that it outlives its death. PURE.

It is a `Source` that notes what its next life has to know before it acts on it (`Note`), and that
takes up where the former life has ended: the same epoch, the run that was open, the same sequence
for each message that comes again. Stages below see no more than a source that sends again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import Kind, Reason, Suspect, Tombstone, size_of
from arroyo.errors import StageError
from arroyo.identifiers import ReplicaName
from arroyo.protocol.source.input import InputBatch, Run
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.actions import Action, PutInQuarantine, Release
from arroyo.protocol.values.batches import OutgoingBatch

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


class ReplayableSource(Source):
    """One listener replica with a replayable input; see `Source` for what it does otherwise.

    Parameters
    ----------
    memory
        What the former life has noted; that of a first life knows its epoch only.
    """

    def __init__(self, name: ReplicaName, *, memory: JournalState, **wiring: Any) -> None:
        super().__init__(name, epoch=memory.epoch, first=memory.frontier, **wiring)
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

    def resume(self, now: float) -> Iterator[Action]:
        """Everything below is there: tell it again what was open when the former life ended.

        To be called once, before the listener hands over anything.
        """
        memory = self._memory
        self._resumed = True
        yield Note(self._progress((), self._attempts))
        # What the former life may still owe comes before anything that this one acknowledges.
        owed = [msgspec.msgpack.decode(mark) for mark in memory.finished]
        yield Release(owed, 0, 0)
        if memory.closed is not None and memory.closing is not None:
            run = self._open_again(memory.closed)
            yield from self._tell_start(run, memory.closed, now)
            self._last_start = run.load
            stop = InputBatch(Kind.STOP, [memory.closing.item])
            load = self._again(self._load(run, stop, memory.closing.first))
            yield from self._ship_again(load, memory.closing.mark, now)
        if memory.run is not None:
            self._run = run = self._open_again(memory.run)
            yield from self._tell_start(run, memory.run, now)

    def _open_again(self, opened: RunOpened) -> Run:
        run = Run(opened.run, opened.implicit, opened.base)
        if not opened.implicit:
            start = self._load(run, InputBatch(Kind.START, [opened.item]), opened.first)
            run.load = self._again(start)
        return run

    def _tell_start(self, run: Run, opened: RunOpened, now: float) -> Iterator[Action]:
        """Send a Start again: some may have missed it, and who comes up later has to get it."""
        if run.load is None:
            return
        if opened.first >= self.ledger.next:
            yield from self._ship_again(run.load, opened.mark, now)
        else:
            yield from self._offer(run.load)

    def _ship_again(self, load: OutgoingBatch, mark: Mark, now: float) -> Iterator[Action]:
        token = msgspec.msgpack.decode(mark)
        yield from self._ship(load, (token,), now, handed=False)

    def _again(self, load: OutgoingBatch) -> OutgoingBatch:
        header = msgspec.structs.replace(load.header, attempt=self._attempts)
        return OutgoingBatch(header, load.items, load.size, load.keys)

    # What comes from the listener

    def accept(self, intake: InputBatch, now: float) -> Iterator[Action]:
        """Take what the listener handed over; a Start or Stop may be known already."""
        count = max(1, len(intake.items))  # the item of a Stop is made later
        if len(intake.tokens) < count:
            intake.tokens = [*intake.tokens, *(None for _ in range(count - len(intake.tokens)))]
        if self._replay is not None and intake.kind != Kind.EVENTS:
            mark = mark_of(intake.tokens[0])
            if self._replay.has_finished(mark):
                yield _release(intake, intake.tokens)
                return
            starts = intake.kind == Kind.START
            if self._replay.knows_start(mark) if starts else self._replay.knows_stop(mark):
                yield from self._drop_known(intake, mark)
                return
            yield from self._give_up(now)
        yield from super().accept(intake, now)

    def _drop_known(self, intake: InputBatch, mark: Mark) -> Iterator[Action]:
        """The former life's Start or Stop stands in for it, and brings its token."""
        run = self._memory.run
        finished = run is not None and mark == run.mark and run.first < self.ledger.frontier
        yield _release(intake, intake.tokens if finished else ())

    def _send(self, intake: InputBatch, now: float) -> Iterator[Action]:
        if intake.kind != Kind.EVENTS or self._replay is None:
            yield from super()._send(intake, now)
            return
        if intake.enters:
            # What people bring back has no place among the old ones.
            if self._resumed and not self._replay.open_places:
                yield from super()._send(intake, now)
            else:
                self._held.append(intake)
            return
        for part in self._replay.sort([mark_of(token) for token in intake.tokens]):
            yield from self._send_part(intake, part, now)
        if self._replay is not None and self._replay.over:
            yield from self._give_up(now)

    def _send_part(self, intake: InputBatch, part: Part, now: float) -> Iterator[Action]:
        if part.fate is Fate.GONE:
            yield from self._pass_over(part.end, now)
            return
        piece = _slice(intake, part.first, part.end)
        if part.fate is Fate.FINISHED:
            yield _release(piece, piece.tokens)
        else:
            yield from super()._send(piece, now)

    def _give_up(self, now: float) -> Iterator[Action]:
        """What was under way and has not come again never will."""
        replay, self._replay = self._replay, None
        if replay is not None:
            yield from self._pass_over(replay.give_up(), now)
            held, self._held = self._held, []
            for intake in held:
                yield from super()._send(intake, now)

    def _pass_over(self, count: int, now: float) -> Iterator[Action]:
        if not count or self._run is None:
            return
        first = self.ledger.next
        at = first - self._first_place
        lost = [first + i for i in range(count) if self._places[at + i] != NO_TOKEN]
        self.lost += len(lost)
        self._missing += [(number, number + 1) for number in lost]
        load = self._load(self._run, InputBatch(Kind.EVENTS, [None] * count), first)
        self.ledger.pass_over(load, count, now)
        if self._ordered:
            stone = Tombstone(first, first + count, Reason.FINISHED)
            header = msgspec.structs.replace(load.header, ranges=(), tombstones=(stone,))
            for outlet in self._outlets.values():
                yield from outlet.offer(OutgoingBatch(header))
        yield from self._advance(now)

    # What is noted

    def _ship(
        self, load: OutgoingBatch, tokens: Sequence[Any], now: float, *, handed: bool = True
    ) -> Iterator[Action]:
        if self.ledger.next >= self._noted:
            yield from self._note(load, tokens)
            self._noted = self.ledger.next + len(load.items)
        yield from super()._ship(load, tokens, now, handed=handed)

    def _offer(self, load: OutgoingBatch) -> Iterator[Action]:
        if load.header.kind != Kind.EVENTS or load.header.enters:
            yield from super()._offer(load)
            return
        for first, end in load.header.ranges:
            for suspect, deaths in list(self.ledger.find_fatal(first, end)):
                # The former life may have died before it was in quarantine; twice does no harm.
                item = load.items[suspect.sequence - first]
                yield PutInQuarantine(load.header, item, suspect, deaths)
        for part in self.ledger.part(load):
            yield from super()._offer(part)

    def _suspect(self, suspect: Suspect) -> Iterator[Action]:
        if suspect.source == str(self.name) and suspect.epoch == self.epoch:
            yield Note(Accused(suspect))
        yield from super()._suspect(suspect)

    def _note(self, load: OutgoingBatch, tokens: Sequence[Any]) -> Iterator[Action]:
        header, first = load.header, self.ledger.next
        marks = tuple(mark_of(token) for token in tokens)
        if header.kind == Kind.START:
            self._missing = []
            yield Note(RunOpened(header.run, False, first, load.items[0], marks[0]))
            return
        if header.implicit and first == header.base:
            self._missing = []
            yield Note(RunOpened(header.run, True, first))
        if header.kind == Kind.STOP:
            yield Note(RunClosing(first, load.items[0], marks[0]))
            return
        if NO_TOKEN in marks and not header.enters:
            raise StageError(
                f"{self.name.stage} has handed over a message without a token; a replayable "
                "listener has to give one with each: process(message, token=...)"
            )
        yield Note(Sent(first, marks))

    def _advance(self, now: float) -> Iterator[Action]:
        for action in super()._advance(now):
            if isinstance(action, Release):
                marks = tuple(mark_of(token) for token in action.tokens if token is not None)
                yield Note(self._progress(marks, self._attempts))
            yield action

    def _send_again(self, before: float, now: float) -> Iterator[Action]:
        yield Note(self._progress((), self._attempts + 1))
        yield from super()._send_again(before, now)

    def _progress(self, marks: tuple[Mark, ...], attempts: int) -> Progress:
        buried, missing = dict(self.ledger.buried), tuple(self._missing)
        if self._replay is not None:
            # An acknowledgement that the life before may have owed is owed until it comes again.
            marks = (*self._replay.finished, *marks)
        return Progress(self.ledger.frontier, attempts, buried, missing, marks)

    # Ends

    def finish(self, now: float, *, final: bool = True, resumes: bool = False) -> Iterator[Action]:
        """The listener has ended; `resumes`: but its input has not, so that its run stays open."""
        self._ending, self._resumes = final, resumes
        yield from self._work(now)

    def _work(self, now: float) -> Iterator[Action]:
        yield from super()._work(now)
        if self._ending is not None and not self._inbox:
            final, self._ending = self._ending, None
            if not self._resumes:
                yield from self._give_up(now)
            yield from super().finish(now, final=final)

    def _has_nothing_open(self) -> bool:
        # What folds hold comes again in the next life.
        return super()._has_nothing_open() or (self._resumes and self.ledger.quiet)

    def _reason_to_close(self) -> str | None:
        if self._resumes and not self._inbox:
            return None
        return super()._reason_to_close()

    def _end_implicit_run(self) -> Iterator[Action]:
        if not self._resumes:
            yield from super()._end_implicit_run()

    def _totals(self, run: Run) -> dict[str, Any]:
        totals = super()._totals(run)
        if self._missing:
            totals["lost"] = len(self._missing)
            totals["missing"] = [[a - run.base, b - run.base] for a, b in self._missing]
        return totals


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
