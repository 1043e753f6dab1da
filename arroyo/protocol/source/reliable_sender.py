"""`ReliableSender`: sends, and keeps what it sent until it is finished. PURE.

Its `RunSequencer` says what leaves; the ledger keeps it. What may be lost is sent again after a
grace, once for many signs of the same death.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from arroyo.codec import PROTOCOL_VERSION, Ack, BackRecord, Batch, Hello, Kind, Suspect
from arroyo.protocol.values.actions import PutInQuarantine, Release
from arroyo.protocol.values.batches import OutgoingBatch

from .ledger import Ledger
from .loss_policy import LossPolicy
from .recovery_policy import RecoveryPolicy
from .redelivery import Redelivery, RedeliveryTimer
from .run_sequencer import RunSequencer
from .sender_context import SenderContext
from .suspects import DEATHS


class ReliableSender:
    """Sends the messages of one ledger, again where it has to."""

    def __init__(
        self,
        context: SenderContext,
        sequencer: RunSequencer,
        ledger: Ledger,
        *,
        loss: LossPolicy,
        recovery: RecoveryPolicy,
    ) -> None:
        self.sequencer = sequencer
        self.epoch = sequencer.epoch
        self.ledger = ledger
        self.downstream = context.downstream
        self.incarnation = context.incarnation
        self.redelivered = 0
        self.lost = 0
        """Messages that will not arrive."""
        self._name = context.name
        self._source = str(context.name)
        self._ordered = context.ordered
        self._emit = context.emit
        self._history = context.history
        self._loss = loss
        self._recovery = recovery
        self._timer = RedeliveryTimer()
        self._redelivery = Redelivery(ledger, with_order=context.ordered)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, if nothing else happens before."""
        return self._timer.deadline(empty=self.ledger.empty)

    # Sending

    def work(self, now: float) -> None:
        """Something has changed: send what can be sent now."""
        while (departure := self.sequencer.next()) is not None:
            batch, intake = departure
            if not batch.items or batch.header.kind == Kind.CLOSING:
                self.downstream.send(batch)
            elif intake.gap:
                self._pass_over(batch, now)
            else:
                self.send(batch, intake.tokens, now)

    def send(
        self, batch: OutgoingBatch, tokens: Sequence[Any], now: float, *, handed: bool = True
    ) -> None:
        """Enter a batch, and send it to all below.

        `handed`: the listener has handed it over in this life.
        """
        self._recovery.note_sending(batch, tokens)
        first, count, kind = self.ledger.next, len(batch.items), batch.header.kind
        self._history.note("took {.name}: {} messages from sequence {}", kind, count, first)
        # PROTOCOL 45: what people bring back does not count in the window.
        self.enter(batch, tokens, now, handed=handed and not batch.header.enters)
        if first < self.ledger.sent_before:
            self._send_known(batch)
        else:
            self.downstream.send(batch)
        if self.downstream.reliable:
            self._loss.let_go(self.ledger, batch)
        else:
            self.finish_unacknowledged(first, now)

    def enter(
        self, batch: OutgoingBatch, tokens: Sequence[Any], now: float, *, handed: bool = True
    ) -> None:
        """Enter a batch into the ledger."""
        if self.ledger.empty:
            self._timer.begin(now)
        self.ledger.add(batch, tokens, now, handed=handed)

    def _send_known(self, batch: OutgoingBatch) -> None:
        """Send what an earlier life had sent; it may have heard what processes have died of.

        PROTOCOL 50: it may have died before that was in quarantine; twice does no harm.
        """
        header = batch.header
        first, end = header.ranges[0]
        for suspect, deaths in list(self.ledger.suspects.find_fatal(first, end)):
            item = batch.items[suspect.sequence - first]
            self._ask_quarantine(header, item, suspect, deaths)
        for each in self._redelivery.come_again(batch):
            self.downstream.send(each)

    def _pass_over(self, places: OutgoingBatch, now: float) -> None:
        """Nothing comes at places of the life before. PROTOCOL 49."""
        first, end = places.header.ranges[0]
        self._history.note(
            "passes over {} messages from {}: they did not come again", end - first, first
        )
        for number in self._recovery.find_lost(first, end):
            self.ledger.missing.add(number, number + 1)
            self.lost += 1
        self.ledger.pass_over(places, now)
        if self._ordered:
            self.downstream.send(self.sequencer.make_tombstones((first, end)))
        self._advance(now)

    def finish_unacknowledged(self, first: int, now: float) -> None:
        """PROTOCOL 36: without push-pull links below, what is sent is finished, from `first` on."""
        ranges = ((first, self.ledger.next),)
        self.ledger.acknowledge(Ack(*self._name, self._source, self.epoch, 0, ranges))
        self._advance(now)

    # What is heard from below

    def record(self, record: BackRecord, now: float) -> None:
        """Take a record from below; what is said of links is for `Downstream`."""
        if isinstance(record, Ack):
            self._acknowledge(record, now)
        elif isinstance(record, Suspect):
            self._suspect(record)
        elif isinstance(record, Hello):
            self._hello(record, now)

    def _acknowledge(self, ack: Ack, now: float) -> None:
        """Messages are finished, or held by a fold."""
        known = ack if ack.epoch == self.epoch else self._recovery.translate(ack)
        if ack.source != self._source or known is None:
            return
        self._history.note(
            "{}.{} {} {} ranges on path {}, up to {}",
            ack.stage,
            ack.replica,
            "holds" if ack.taken else "finished",
            len(ack.ranges),
            ack.path,
            ack.ranges[-1][1] if ack.ranges else None,
        )
        if not ack.taken:
            self.lost -= self._loss.find_again(self.ledger, known)
        if not self.ledger.acknowledge(known):
            self.note_loss(now)
        self._advance(now)

    def _advance(self, now: float) -> None:
        """PROTOCOL 16: what is finished on every path is given back."""
        freed = self.ledger.advance(now)
        if freed is None:
            return
        self._timer.note_progress(now, freed.delay_s)
        self._history.note(
            "all below sequence {} is finished, {} of it new", self.ledger.frontier, freed.messages
        )
        self._recovery.note_advance(freed.tokens)
        self._emit(Release(freed.tokens, freed.messages, freed.size, freed.items))

    def _hello(self, hello: Hello, now: float) -> None:
        """A replica below is there: what a life of a fold before this one held is lost.

        PROTOCOL 53: there may be no other sign of it. This life of the source may know the former
        one by what that held alone, and who leaves breaks no link with anything in flight.
        """
        if hello.sticky and hello.version == PROTOCOL_VERSION:
            life = (hello.stage, hello.replica, hello.incarnation)
            if self.ledger.forget_held(*life):
                self.note_loss(now)

    # What may be poison

    def _suspect(self, suspect: Suspect) -> None:
        """A process has died of a message. The Hello behind it has that sent again.

        PROTOCOL 43: at the third death it goes out no more.
        """
        if suspect.source != self._source or suspect.epoch != self.epoch:
            return
        self._recovery.note_death(suspect)
        deaths = self.ledger.accuse(suspect)
        self._history.note(
            "{}.{} died of message {}, death {}",
            suspect.stage,
            suspect.replica,
            suspect.sequence,
            deaths,
        )
        if deaths >= DEATHS and suspect.sequence < self.ledger.next:
            entry = self.ledger.find(suspect.sequence)
            item = entry.batch.items[suspect.sequence - entry.first]
            self._ask_quarantine(entry.batch.header, item, suspect, deaths)

    def _ask_quarantine(self, header: Batch, item: Any, suspect: Suspect, deaths: int) -> None:
        self.ledger.suspects.withhold(suspect.sequence)
        self._history.note("withholds message {} for quarantine", suspect.sequence)
        start = self.sequencer.start_item
        self._emit(PutInQuarantine(header, item, suspect, deaths, start))

    def quarantined(self, sequence: int, *, kept: bool) -> None:
        """A message is in quarantine, so that a tombstone goes in its place from now on.

        `kept`: or it can't be kept, and goes out again; the next death is the next occasion.
        """
        self._history.note("message {} is in quarantine: {}", sequence, kept)
        if self.ledger.suspects.quarantined(sequence, kept=kept):
            for batch in self._redelivery.due(sequence):
                self.downstream.send(batch)

    # Sending again

    def note_loss(self, now: float) -> None:
        """Something may have been lost below."""
        if self.ledger.empty:
            return
        wait_s = self._timer.note_loss(now)
        if wait_s is not None:
            self._history.note("may have lost messages; sends again in {:.3f} s", wait_s)

    def tick(self, now: float) -> bool:
        """Time has passed: send again what is due. Returns whether anything was."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return False
        before = self._timer.expire(now, idle=not self.downstream.in_flight)
        if before is None or self.ledger.empty:
            return False
        self._send_again(before, now)
        return True

    def _send_again(self, before: float, now: float) -> None:
        """PROTOCOL 22: each stage below gets what the paths behind it miss."""
        ledger = self.ledger
        lost = self._loss.give_up(ledger, self.downstream, self.epoch, before)
        if lost is None:
            self._timer.postpone(before, now)
            return
        if lost:
            self.lost += lost
            self._history.note("counts {} messages as lost", lost)
        ledger.attempts += 1
        self._recovery.note_attempt()
        self._history.note("attempt {}: sends again what is unfinished", ledger.attempts)
        for dispatcher, paths in self.downstream.routes:
            waiting = dispatcher.waiting(self.epoch)
            for batch in self._redelivery.unfinished(paths, before, waiting):
                for each in self._restore(batch):
                    self.redelivered += len(each.items)
                    each.trim = partial(self._redelivery.without_finished, paths)
                    dispatcher.send(each)
            if self._ordered and ledger.frontier:
                dispatcher.send(self.sequencer.frontier_mark(ledger.frontier))
        ledger.mark_sent(before, now)
        self._advance(now)  # past what was given up

    def _restore(self, batch: OutgoingBatch) -> Iterable[OutgoingBatch]:
        """Return what leaves for a batch that is sent again."""
        if batch.header.epoch != self.epoch:
            return self._recovery.restore(batch)
        return self.sequencer.behind_start(batch)
