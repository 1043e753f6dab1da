"""`Source`: the protocol of a listener's replica. PURE.

Messages go in one after another (`accept`), records of the stages below come back (`record`),
time passes (`tick`); actions come out. Rules:
- Start, events and Stop of a run stand in the ledger, numbered in one row.
- Stop leaves when everything of its run is finished on all paths, so the run is quiet by then
  and nothing can come after it; what was accepted behind it waits. Where folds hold what is
  left, Closing goes before it: they give out what they have, and so come to finish it.
- Whatever may have been lost comes again after a grace, once for many signs of the same death.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import (
    PROTOCOL_VERSION,
    Ack,
    BackRecord,
    Batch,
    Bye,
    Credit,
    Hello,
    Kind,
    Lost,
    Reason,
    Suspect,
    Tombstone,
)
from arroyo.identifiers import ReplicaName

from .actions import Action, Isolate, Release
from .former_stop import FormerStop
from .ledger import Ledger
from .loads import Load
from .outlets import Outlet
from .paths import Terminal
from .publication import Publication
from .runs import FormerRun, Intake, MakeStop, Run
from .suspects import DEATHS

GRACE_S = (0.05, 1.0)
"""Least and longest wait from a death to sending again: acknowledgements may be on their way."""
STALL_S = 30.0
"""With nothing under way to a neighbour and nothing acknowledged for so long, all is sent again."""


class Source:
    """One listener replica towards the stages below.

    Parameters
    ----------
    name, epoch, incarnation
        Who this is, and in which life.
    terminals
        Where each path ends.
    outlets
        One per stage below that is fed by push-pull, with the paths behind it.
    below
        Every replica below, by any links; `ready` when all of them have said Hello.
    publication
        For pub-sub links, where there are any.
    ordered
        Whether a stage below wants the order of the source.
    new_run
        Makes a run's name.
    make_early_stop
        Makes what makes the item of a Stop that the listener did not send, of a reason.
    first
        Sequence of the first message; an earlier life has finished what is below.
    """

    def __init__(
        self,
        name: ReplicaName,
        *,
        epoch: int,
        incarnation: int,
        terminals: Sequence[Terminal],
        outlets: Sequence[tuple[Outlet, range]],
        below: Sequence[ReplicaName],
        publication: Publication | None,
        ordered: bool,
        new_run: Callable[[], str],
        make_early_stop: Callable[[str], MakeStop],
        first: int = 0,
    ) -> None:
        self.name = name
        self.epoch = epoch
        self.ledger = Ledger(terminals, first)
        self.redelivered = 0
        self.lost = 0
        """Messages that will not arrive."""
        self._incarnation = incarnation
        self._outlets = {outlet.stage: outlet for outlet, _ in outlets}
        self._ways = [(outlet, paths) for outlet, paths in outlets]
        self._publication = publication
        self._awaited = set(below)
        self._lives: dict[ReplicaName, int] = {}
        self._ordered = ordered
        self._new_run = new_run
        self._make_early_stop = make_early_stop
        self._inbox: deque[Intake] = deque()
        self._run: Run | None = None
        self._closing: Intake | None = None
        self._closing_told = -1
        """The round of sending again in which the end of the open run was announced."""
        self._complete = True
        self._last_start: Load | None = None
        self._former_stop: FormerStop | None = None
        self._finishing = self._told_end = False
        self._final = True
        self._lost_at: float | None = None
        self._send_again_at = 0.0
        self._attempts = 0
        self._delay_s = GRACE_S[0] / 4
        self._progress_at = 0.0
        self._stall_s = STALL_S

    # What the shell looks at

    @property
    def ready(self) -> bool:
        """Whether every replica below is there."""
        return not self._awaited

    @property
    def awaited(self) -> Sequence[ReplicaName]:
        """Replicas below that have not said Hello."""
        return sorted(self._awaited)

    @property
    def blocked(self) -> bool:
        """Whether it can't take anything more for now."""
        return bool(self._inbox) or any(outlet.blocked for outlet in self._outlets.values())

    @property
    def ended(self) -> bool:
        """Whether all is finished and End has been sent."""
        return self._is_through() and all(outlet.ended for outlet in self._outlets.values())

    def _is_through(self) -> bool:
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

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, if nothing else happens before."""
        if self._lost_at is not None:
            return self._send_again_at
        return None if self.ledger.empty else self._progress_at + self._stall_s

    # Events

    def connect(self) -> Iterator[Action]:
        """Make the links."""
        for outlet in self._outlets.values():
            yield from outlet.connect(self._incarnation)

    def accept(self, intake: Intake, now: float) -> Iterator[Action]:
        """Take what the listener handed over."""
        self._inbox.append(intake)
        yield from self._work(now)

    def finish(self, now: float, *, final: bool = True) -> Iterator[Action]:
        """The listener has ended: close its run, and end when everything is finished.

        `final`: it has finished for good; else it only leaves, and the stages below stay.
        """
        self._finishing, self._final = True, final
        yield from self._work(now)

    def record(self, record: BackRecord, now: float) -> Iterator[Action]:
        """A record came back from below."""
        if isinstance(record, Ack):
            if record.source == str(self.name):
                yield from self._acknowledge(record, now)
        elif isinstance(record, Credit):
            if record.stage in self._outlets:
                yield from self._outlets[record.stage].credit(record)
                yield from self._work(now)
        elif isinstance(record, Hello):
            yield from self._hello(record, now)
        elif isinstance(record, Lost):
            if record.link is None:
                self._note_loss(now)
            else:
                name = ReplicaName(record.stage, record.replica)
                yield from self.disconnected(name, record.link, now)
        elif isinstance(record, Bye) and record.stage in self._outlets:
            yield from self._outlets[record.stage].bye(record)
        elif isinstance(record, Suspect):
            yield from self._suspect(record)

    def bury(self, sequence: int) -> None:
        """A message is in quarantine; a tombstone goes in its place from now on."""
        self.ledger.bury(sequence)

    def disconnected(self, replica: ReplicaName, link: int, now: float) -> Iterator[Action]:
        """The link to a neighbour below broke."""
        if replica.stage not in self._outlets:
            return
        actions, lost = self._outlets[replica.stage].disconnected(replica.replica, link)
        if lost:
            self._note_loss(now)
        yield from actions

    def tick(self, now: float) -> Iterator[Action]:
        """Time has passed: send again what is due."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        if self._lost_at is None:
            idle = not any(outlet.in_flight for outlet in self._outlets.values())
            self._progress_at = now
            self._stall_s *= 2
            if not idle:
                return
            self._lost_at = now
        before, self._lost_at = self._lost_at, None
        if not self.ledger.empty:
            yield from self._send_again(before, now)
            yield from self._work(now)

    @property
    def open_run(self) -> tuple[str, int] | None:
        """Name and base of the run that has a Start and no Stop yet."""
        if self._run is None or self._run.implicit:
            return None
        return self._run.name, self._run.base

    @property
    def open_start(self) -> Any:
        """The Start of that run, as it was handed over."""
        assert self._run is not None
        assert self._run.load is not None
        return self._run.load.items[0]

    def close_former(
        self, former: FormerRun, start: Any, stop: Any, now: float
    ) -> Iterator[Action]:
        """Send the Stop of a run that died with the life before, behind its Start."""
        run = Run(former.run, False, former.base)
        first = self._load(run, Intake(Kind.START, [start]), self.ledger.next)
        last = self._load(run, Intake(Kind.STOP, [stop]), self.ledger.next)
        self._former_stop = FormerStop(former, self.ledger.next, self._incarnation)
        if self._outlets:
            self._last_start = self._former_stop.address(first)
            self._progress_at = now
            last = Load(msgspec.structs.replace(last.header, epoch=former.epoch), [stop])
            self.ledger.add(last, 1, (None,), now, handed=False)
        for load in (first, last):
            yield from self._offer(self._former_stop.address(load))

    @property
    def closes_former(self) -> bool:
        """Whether somebody has yet to acknowledge the Stop of the former run."""
        former = self._former_stop
        return former is not None and former.place in range(self.ledger.frontier, self.ledger.next)

    # Runs

    def _work(self, now: float) -> Iterator[Action]:
        while self._closing is None and (self._inbox or self._finishing):
            reason = self._reason_to_close()
            if reason is not None:
                self._close_early(reason)
            elif not self._inbox or self._must_wait():
                yield from self._end_implicit_run()
                break
            elif self._inbox[0].kind == Kind.STOP:
                self._closing = self._inbox.popleft()
                self._complete = True
            else:
                yield from self._send(self._inbox.popleft(), now)
        yield from self._try_stop(now)
        if self._is_through():
            yield from self._say_end()

    def _say_end(self) -> Iterator[Action]:
        for outlet in self._outlets.values():
            yield from outlet.end(final=self._final)
        if self._publication is not None and not self._told_end:
            self._told_end = True
            yield from self._publication.end(final=self._final)

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
        if any(outlet.blocked for outlet in self._outlets.values()):
            return True
        # No Stop says that an implicit run is over; it ends when all of it is finished.
        starts = self._inbox[0].kind == Kind.START
        return starts and self._run is not None and not self.ledger.empty

    def _close_early(self, reason: str) -> None:
        make_stop = self._make_early_stop(reason)
        self._closing = Intake(Kind.STOP, tokens=(None,), make_stop=make_stop)
        self._complete = False

    def _end_implicit_run(self) -> Iterator[Action]:
        """No Stop ends it, but folds below have to give out what they hold of it."""
        ends = self._finishing if not self._inbox else self._inbox[0].kind == Kind.START
        if ends and self._run is not None and self._run.implicit:
            yield from self._announce_stop(self._make_early_stop(""))

    def _announce_stop(self, make_stop: MakeStop) -> Iterator[Action]:
        """Once all that is not finished is held by folds: tell them to give it out.

        Told again after each round of sending again, in which it may have been lost.
        """
        if self._run is None or self.ledger.empty or not self.ledger.quiet:
            return
        if self._closing_told < self._attempts:
            self._closing_told = self._attempts
            item = make_stop(self._totals(self._run))
            load = self._load(self._run, Intake(Kind.CLOSING, [item]), self.ledger.next)
            header = msgspec.structs.replace(
                load.header, attempt=self._attempts, holders=self.ledger.holders
            )
            yield from self._offer(Load(header, load.items))

    def _send(self, intake: Intake, now: float) -> Iterator[Action]:
        first = self.ledger.next
        if intake.kind == Kind.START:
            self.ledger.take_buried()  # of an implicit run: nobody asks for its totals
            self._run = self._open_run(implicit=False)
        elif self._run is None:
            self._run = self._open_run(implicit=True)
        load = self._load(self._run, intake, first)
        if intake.kind == Kind.START:
            self._run.load = load
        yield from self._ship(load, intake.tokens, now)

    def _open_run(self, *, implicit: bool) -> Run:
        self._closing_told = -1
        first = self.ledger.next
        return Run(self._new_run(), implicit, first if implicit else first + 1)

    def _load(self, run: Run, intake: Intake, first: int) -> Load:
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
        )
        return Load(header, intake.items, intake.size, intake.keys)

    def _ship(
        self, load: Load, tokens: Sequence[Any], now: float, *, handed: bool = True
    ) -> Iterator[Action]:
        if self.ledger.empty:
            self._progress_at = now
        handed = handed and not load.header.enters  # those don't count in the window
        self.ledger.add(load, len(load.items), tokens, now, handed=handed)
        yield from self._offer(load)
        if not self._outlets:
            # Nobody below acknowledges: what is sent is finished.
            record = Ack(*self.name, str(self.name), self.epoch, 0, load.header.ranges)
            self.ledger.acknowledge(record)
            yield from self._advance(now)

    def _offer(self, load: Load) -> Iterator[Action]:
        for outlet in self._outlets.values():
            yield from outlet.offer(load)
        if self._publication is not None:
            yield from self._publication.offer(load)

    def _try_stop(self, now: float) -> Iterator[Action]:
        if self._closing is None:
            return
        if not self.ledger.empty:
            assert self._closing.make_stop is not None
            yield from self._announce_stop(self._closing.make_stop)
            return
        intake, self._closing = self._closing, None
        run, self._run = self._run, None
        first = self.ledger.next
        if run is None:
            run = self._open_run(implicit=True)
        assert intake.make_stop is not None
        intake.items = [intake.make_stop(self._totals(run))]
        self.ledger.take_buried()
        load = self._load(run, intake, first)
        if run.load is not None and self._outlets:
            self._last_start = run.load
        yield from self._ship(load, intake.tokens, now)
        yield from self._work(now)

    def _totals(self, run: Run) -> dict[str, Any]:
        buried = self.ledger.buried
        return {
            "sent": self.ledger.next - run.base,
            "filtered": buried.get(Reason.FILTERED, 0),
            "skipped": buried.get(Reason.SKIPPED, 0),
            "quarantined": buried.get(Reason.QUARANTINED, 0),
            "lost": 0,
            "complete": self._complete,
        }

    # Acknowledgement and loss

    def _acknowledge(self, record: Ack, now: float) -> Iterator[Action]:
        ack: Ack | None = record
        if record.epoch != self.epoch:
            ack = None if self._former_stop is None else self._former_stop.translate(record)
        if ack is not None:
            self.ledger.acknowledge(ack)
            yield from self._advance(now)
            # It may have been all that a Stop waits for, though the frontier stays.
            yield from self._work(now)

    def _advance(self, now: float) -> Iterator[Action]:
        freed = self.ledger.advance(now)
        if freed is None:
            return
        self._progress_at, self._stall_s = now, STALL_S
        if freed.delay_s is not None:
            self._delay_s += (freed.delay_s - self._delay_s) / 8
        yield Release(freed.tokens, freed.messages, freed.size, freed.items)
        yield from self._work(now)

    def _hello(self, hello: Hello, now: float) -> Iterator[Action]:
        name = ReplicaName(hello.stage, hello.replica)
        if hello.version != PROTOCOL_VERSION:
            return
        known = self._lives.get(name)
        lost = known not in (None, hello.incarnation)
        if hello.sticky:
            self.ledger.forget_taken(name.stage, name.replica, hello.incarnation)
        self._lives[name] = hello.incarnation
        self._awaited.discard(name)
        if name.stage in self._outlets:
            actions, broken = self._outlets[name.stage].hello(hello)
            lost = lost or broken
            yield from actions
        if self._publication is not None:
            yield from self._publication.repeat_starts()
        if lost:
            self._note_loss(now)
        yield from self._work(now)

    def _suspect(self, suspect: Suspect) -> Iterator[Action]:
        """A process has died of a message. The Hello behind it has that sent again."""
        if suspect.source != str(self.name) or suspect.epoch != self.epoch:
            return
        deaths = self.ledger.accuse(suspect)
        if deaths >= DEATHS and suspect.sequence < self.ledger.next:
            load, item = self.ledger.find(suspect.sequence)
            yield Isolate(load.header, item, suspect, deaths)

    def _note_loss(self, now: float) -> None:
        if self.ledger.empty:
            return
        if self._lost_at is None:
            # Counted from the first sign, so that losses without end don't put it off for ever.
            self._send_again_at = now + min(max(4 * self._delay_s, GRACE_S[0]), GRACE_S[1])
        self._lost_at = now

    def _send_again(self, before: float, now: float) -> Iterator[Action]:
        frontier = self.ledger.frontier
        self._attempts += 1
        for outlet, paths in self._ways:
            loads = self.ledger.unfinished(
                paths,
                before,
                outlet.waiting(self.epoch),
                attempt=self._attempts,
                with_order=self._ordered,
            )
            for again in loads:
                load = again
                if self._former_stop is not None and load.header.epoch != self.epoch:
                    if not load.items:
                        continue  # a mere place, which nobody waits for
                    load = self._former_stop.address(load)
                if load.header.kind == Kind.STOP and load.items:
                    yield from self._repeat_start(outlet, load)
                self.redelivered += len(load.items)
                yield from outlet.offer(load)
            if self._ordered and frontier:
                yield from outlet.offer(self._frontier_mark(frontier))
        self.ledger.mark_sent(before, now)

    def _frontier_mark(self, frontier: int) -> Load:
        """Tell a restarted stage that restores order where to begin, if nothing else does."""
        run = self._run or Run("", True, 0)
        load = self._load(run, Intake(Kind.EVENTS), frontier)
        stone = Tombstone(frontier - 1, frontier, Reason.FINISHED)
        return Load(msgspec.structs.replace(load.header, ranges=(), tombstones=(stone,)))

    def _repeat_start(self, outlet: Outlet, stop: Load) -> Iterator[Action]:
        """A replica that came up after the Stop went by must hear of the run's Start first."""
        start = self._last_start
        if start is not None and start.header.run == stop.header.run:
            header = msgspec.structs.replace(start.header, attempt=stop.header.attempt)
            yield from outlet.offer(Load(header, start.items, start.size))
