"""`ReliableSender`: the sending side of whoever keeps a ledger, and what it hears from below. PURE.

What was sent stands in the ledger until it is finished. Whatever may have been lost comes again
after a grace, once for many signs of the same death. What is sent, and when, is said by `Source`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from arroyo.codec import PROTOCOL_VERSION, Ack, BackRecord, Bye, Credit, Hello, Lost, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.dispatcher import Dispatcher
from arroyo.protocol.sending.publication import Publication
from arroyo.protocol.values.actions import Action, PutInQuarantine, Release
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.paths import Terminal

from .ledger import Ledger
from .suspects import DEATHS

GRACE_S = (0.05, 1.0)
"""Least and longest wait from a death to sending again: acknowledgements may be on their way."""
STALL_S = 30.0
"""With nothing under way to a neighbour and nothing acknowledged for so long, all is sent again."""


class ReliableSender(ABC):
    """A ledger, and the outlets that what stands in it leaves by.

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
        outlets: Sequence[tuple[Dispatcher, range]],
        below: Sequence[ReplicaName],
        publication: Publication | None,
        ordered: bool,
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
        self._lost_at: float | None = None
        self._send_again_at = 0.0
        self._attempts = 0
        self._delay_s = GRACE_S[0] / 4
        self._progress_at = 0.0
        self._stall_s = STALL_S

    # What is said by whoever sends

    @abstractmethod
    def _work(self, now: float) -> Iterator[Action]:
        """Something has changed: send what can be sent now."""

    @abstractmethod
    def _loads_again(self, load: OutgoingBatch) -> Iterable[OutgoingBatch]:
        """Return what has to go out where `load` is sent again."""

    @abstractmethod
    def _frontier_mark(self, frontier: int) -> OutgoingBatch:
        """Return what tells a restarted stage that restores order where to begin."""

    def _start_of_run(self) -> Any:
        """Return the item of the Start of the run that is open; None where it has none."""
        return None

    @property
    def ready(self) -> bool:
        """Whether every replica below is there."""
        return not self._awaited

    @property
    def awaited(self) -> Sequence[ReplicaName]:
        """Replicas below that have not said Hello."""
        return sorted(self._awaited)

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

    # Sending

    def _ship(
        self, load: OutgoingBatch, tokens: Sequence[Any], now: float, *, handed: bool = True
    ) -> Iterator[Action]:
        if self.ledger.empty:
            self._progress_at = now
        handed = handed and not load.header.enters  # those don't count in the window
        self.ledger.add(load, len(load.items), tokens, now, handed=handed)
        yield from self._offer(load)
        if not self._outlets:
            yield from self._acknowledge_all(load.header.ranges[0][0], now)

    def _acknowledge_all(self, first: int, now: float) -> Iterator[Action]:
        """Nobody below acknowledges: what is sent, from `first` on, is finished."""
        ranges = ((first, self.ledger.next),)
        self.ledger.acknowledge(Ack(*self.name, str(self.name), self.epoch, 0, ranges))
        yield from self._advance(now)

    def _offer(self, load: OutgoingBatch) -> Iterator[Action]:
        for outlet in self._outlets.values():
            yield from outlet.offer(load)
        if self._publication is not None:
            yield from self._publication.offer(load)

    # Acknowledgement and loss

    def _acknowledge(self, ack: Ack, now: float) -> Iterator[Action]:
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
            yield PutInQuarantine(load.header, item, suspect, deaths, self._start_of_run())

    def _note_loss(self, now: float) -> None:
        if self.ledger.empty:
            return
        if self._lost_at is None:
            # Counted from the first sign, so that losses without end don't put it off for ever.
            self._send_again_at = now + min(max(4 * self._delay_s, GRACE_S[0]), GRACE_S[1])
        self._lost_at = now

    def _send_again(self, before: float, now: float) -> Iterator[Action]:
        self._attempts += 1
        for outlet, paths in self._ways:
            loads = self.ledger.unfinished(
                paths,
                before,
                outlet.waiting(self.epoch),
                attempt=self._attempts,
                with_order=self._ordered,
            )
            for load in loads:
                for each in self._loads_again(load):
                    self.redelivered += len(each.items)
                    each.trim = partial(
                        self.ledger.without_finished, paths, with_order=self._ordered
                    )
                    yield from outlet.offer(each)
            if self._ordered and self.ledger.frontier:
                yield from outlet.offer(self._frontier_mark(self.ledger.frontier))
        self.ledger.mark_sent(before, now)
