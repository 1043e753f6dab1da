"""`ReliableSender`: the sending side of whoever keeps a ledger. PURE.

What was sent stands in the ledger until it is finished. Whatever may have been lost comes again
after a grace, once for many signs of the same death. What is sent, and when, is said by
`RunSender`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from arroyo.codec import PROTOCOL_VERSION, Ack, Hello, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.downstream import Downstream
from arroyo.protocol.values.actions import PutInQuarantine, Release
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.history import History
from arroyo.protocol.values.outbox import Emit
from arroyo.protocol.values.paths import Terminal

from .ledger import Ledger
from .loss import Loss
from .suspects import DEATHS

GRACE_S = (0.05, 1.0)
"""Least and longest wait from a death to sending again: acknowledgements may be on their way.
PROTOCOL 21."""
STALL_S = 30.0
"""With nothing under way to a neighbour and nothing acknowledged for so long, all is sent again.
PROTOCOL 25."""


class Surroundings(NamedTuple):
    """Where a sender stands, and what it says things to.

    Attributes
    ----------
    name, incarnation
        Who this is, and in which life.
    terminals
        Where each path ends.
    downstream
        All stages below.
    ordered
        Whether a stage below wants the order of the source.
    emit
        Where it says what is to be done.
    history
        Where it notes what it did.
    """

    name: ReplicaName
    incarnation: int
    terminals: Sequence[Terminal]
    downstream: Downstream
    ordered: bool
    emit: Emit
    history: History


class ReliableSender(ABC):
    """A ledger, and how what stands in it leaves, perhaps more than once.

    Parameters
    ----------
    surroundings
        Where it stands.
    epoch
        In which its sequences count.
    loss
        What is done about messages that may be lost.
    first
        Sequence of the first message; an earlier life has finished what is below.
    """

    def __init__(
        self, surroundings: Surroundings, *, epoch: int, loss: Loss, first: int = 0
    ) -> None:
        self.name = surroundings.name
        self.epoch = epoch
        self.ledger = Ledger(surroundings.terminals, first)
        self.redelivered = 0
        self.lost = 0
        """Messages that will not arrive."""
        self._incarnation = surroundings.incarnation
        self._downstream = surroundings.downstream
        self._ordered = surroundings.ordered
        self._emit = surroundings.emit
        self.history = surroundings.history
        self._loss = loss
        self._lost_at: float | None = None
        self._send_again_at = 0.0
        self._attempts = 0
        self._delay_s = GRACE_S[0] / 4
        self._progress_at = 0.0
        self._stall_s = STALL_S

    # What is said by whoever sends

    @abstractmethod
    def work(self, now: float) -> None:
        """Something has changed: send what can be sent now."""

    def _expand_first(self, batch: OutgoingBatch) -> Iterable[OutgoingBatch]:
        """Return what has to go out where the batch entered last is sent for the first time."""
        return (batch,)

    @abstractmethod
    def _expand_again(self, batch: OutgoingBatch) -> Iterable[OutgoingBatch]:
        """Return what has to go out where a batch is sent again."""

    @abstractmethod
    def _note_sending(self, batch: OutgoingBatch, tokens: Sequence[Any]) -> None:
        """Have noted what has to be known to the next life before a batch enters the ledger."""

    @abstractmethod
    def _note_advance(self, tokens: Sequence[Any]) -> None:
        """Have noted what has to be known to the next life before messages are given back."""

    @abstractmethod
    def _frontier_mark(self, frontier: int) -> OutgoingBatch:
        """Return what tells a restarted stage that restores order where to begin."""

    def _start_of_run(self) -> Any:
        """Return the item of the Start of the run that is open; None where it has none."""
        return None

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, if nothing else happens before."""
        if self._lost_at is not None:
            return self._send_again_at
        return None if self.ledger.empty else self._progress_at + self._stall_s

    # Events

    def acknowledge(self, ack: Ack, now: float) -> None:
        """Messages are finished, or held by a fold."""
        if ack.source != str(self.name):
            return
        self.history.note(
            "{}.{} {} {} ranges on path {}, up to {}",
            ack.stage,
            ack.replica,
            "holds" if ack.taken else "finished",
            len(ack.ranges),
            ack.path,
            ack.ranges[-1][1] if ack.ranges else None,
        )
        if ack.epoch == self.epoch and not ack.taken:
            self.lost -= self._loss.find_again(ack)
        self._acknowledge(ack, now)

    def hello(self, hello: Hello) -> None:
        """A replica below is there: what a life of a fold before this one held is not held."""
        if hello.sticky and hello.version == PROTOCOL_VERSION:
            self.ledger.forget_taken(hello.stage, hello.replica, hello.incarnation)

    def suspect(self, suspect: Suspect) -> None:
        """A process has died of a message. The Hello behind it has that sent again.

        PROTOCOL 43: at the third death it goes out no more.
        """
        if suspect.source != str(self.name) or suspect.epoch != self.epoch:
            return
        deaths = self.ledger.accuse(suspect)
        self.history.note(
            "{}.{} died of message {}, death {}",
            suspect.stage,
            suspect.replica,
            suspect.sequence,
            deaths,
        )
        if deaths >= DEATHS and suspect.sequence < self.ledger.next:
            batch, item = self.ledger.find(suspect.sequence)
            self._ask_quarantine(
                PutInQuarantine(batch.header, item, suspect, deaths, self._start_of_run())
            )

    def _ask_quarantine(self, action: PutInQuarantine) -> None:
        self.ledger.withhold(action.suspect.sequence)
        self.history.note("withholds message {} for quarantine", action.suspect.sequence)
        self._emit(action)

    def quarantined(self, sequence: int, *, kept: bool) -> None:
        """A message is in quarantine, so that a tombstone goes in its place from now on.

        `kept`: or it can't be kept, and goes out again; the next death is the next occasion.
        """
        self.history.note("message {} is in quarantine: {}", sequence, kept)
        for batch in self.ledger.quarantined(sequence, kept=kept, attempt=self._attempts):
            self._downstream.send(batch)

    def note_loss(self, now: float) -> None:
        """Something may have been lost below."""
        if self.ledger.empty:
            return
        if self._lost_at is None:
            # PROTOCOL 21: counted from the first sign, or losses without end would put it off
            # for ever.
            wait_s = min(max(4 * self._delay_s, GRACE_S[0]), GRACE_S[1])
            self._send_again_at = now + wait_s
            self.history.note("may have lost messages; sends again in {:.3f} s", wait_s)
        self._lost_at = now

    def tick(self, now: float) -> None:
        """Time has passed: send again what is due."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        if self._lost_at is None:
            idle = not self._downstream.in_flight
            self._progress_at = now
            self._stall_s *= 2
            if not idle:
                return
            self._lost_at = now
        before, self._lost_at = self._lost_at, None
        if not self.ledger.empty:
            self._send_again(before, now)
            self.work(now)

    # Sending

    def _ship(
        self, batch: OutgoingBatch, tokens: Sequence[Any], now: float, *, handed: bool = True
    ) -> None:
        if self.ledger.empty:
            self._progress_at = now
        handed = handed and not batch.header.enters  # PROTOCOL 45: those don't count in the window
        self._note_sending(batch, tokens)
        self.history.note(
            "took {.name}: {} messages from sequence {}",
            batch.header.kind,
            len(batch.items),
            self.ledger.next,
        )
        self.ledger.add(batch, len(batch.items), tokens, now, handed=handed)
        for each in self._expand_first(batch):
            self._downstream.send(each)
        if self._downstream.reliable:
            self._loss.sent(self.ledger, batch)
        else:
            self._acknowledge_all(batch.header.ranges[0][0], now)

    def _acknowledge_all(self, first: int, now: float) -> None:
        """PROTOCOL 36: nobody below acknowledges; what is sent, from `first` on, is finished."""
        ranges = ((first, self.ledger.next),)
        self.ledger.acknowledge(Ack(*self.name, str(self.name), self.epoch, 0, ranges))
        self._advance(now)

    # Acknowledgement and loss

    def _acknowledge(self, ack: Ack, now: float) -> None:
        self.ledger.acknowledge(ack)
        self._advance(now)
        # It may have been all that a Stop waits for, though the frontier stays.
        self.work(now)

    def _advance(self, now: float) -> None:
        """PROTOCOL 16: what is finished on every path is given back."""
        freed = self.ledger.advance(now)
        if freed is None:
            return
        self._progress_at, self._stall_s = now, STALL_S
        self.history.note(
            "all below sequence {} is finished, {} of it new", self.ledger.frontier, freed.messages
        )
        if freed.delay_s is not None:
            self._delay_s += (freed.delay_s - self._delay_s) / 8
        self._note_advance(freed.tokens)
        self._emit(Release(freed.tokens, freed.messages, freed.size, freed.items))

    def _send_again(self, before: float, now: float) -> None:
        """PROTOCOL 22: each dispatcher gets what the paths behind it miss."""
        lost = self._loss.give_up(self.ledger, self._downstream.routes, self.epoch, before)
        if lost is None:
            self._lost_at = before if self._lost_at is None else self._lost_at
            self._send_again_at = now + GRACE_S[1]
            return
        if lost:
            self.lost += lost
            self.history.note("counts {} messages as lost", lost)
        self._attempts += 1
        self.history.note("attempt {}: sends again what is unfinished", self._attempts)
        for dispatcher, paths in self._downstream.routes:
            unfinished = self.ledger.unfinished(
                paths,
                before,
                dispatcher.waiting(self.epoch),
                attempt=self._attempts,
                with_order=self._ordered,
            )
            for batch in unfinished:
                for each in self._expand_again(batch):
                    self.redelivered += len(each.items)
                    each.trim = partial(
                        self.ledger.without_finished, paths, with_order=self._ordered
                    )
                    dispatcher.send(each)
            if self._ordered and self.ledger.frontier:
                dispatcher.send(self._frontier_mark(self.ledger.frontier))  # PROTOCOL 23
        self.ledger.mark_sent(before, now)
        self._advance(now)  # past what was given up
