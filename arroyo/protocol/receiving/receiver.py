"""`Receiver`: a replica's links from above, and what may come by them. PURE.

Which records are taken, which batches the stage has to work on, and what is said to the replicas
above. What is made of a batch, and what goes on, is said by `Relay`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arroyo.codec import (
    PROTOCOL_VERSION,
    Ack,
    Batch,
    Bye,
    Credit,
    DataRecord,
    End,
    Hello,
    Lost,
    Open,
    Reason,
    Refuse,
    Suspect,
)
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Action, Reply
from arroyo.protocol.values.batches import bury_all, count_of
from arroyo.protocol.values.deliveries import Delivery
from arroyo.protocol.values.history import History
from arroyo.protocol.values.outbox import Outbox

from .inbound_links import InboundLinks
from .run_gate import Entry, RunGate


class Receiver(ABC):
    """What one replica knows of those above it.

    Parameters
    ----------
    name, incarnation
        Who this is, and in which life.
    senders
        Every replica above that sends to it, and whether by pub-sub.
    sources
        Every replica above, near or far, that may have a ledger: listeners and operators.
    suspect
        The message that the life before this one has died of, if there is one.
    outbox
        Where it says what is to be done.
    history
        Where it notes what it did.
    """

    def __init__(
        self,
        name: ReplicaName,
        *,
        incarnation: int,
        senders: Mapping[ReplicaName, bool],
        sources: Sequence[ReplicaName],
        suspect: Suspect | None,
        outbox: Outbox,
        history: History,
    ) -> None:
        self.name = name
        self._incarnation = incarnation
        self._neighbours = {str(above): above for above in senders}
        self._crediting = {str(above): above for above, pub_sub in senders.items() if not pub_sub}
        self._senders = InboundLinks({str(above): pub_sub for above, pub_sub in senders.items()})
        self._sources = {str(source): source for source in sources}
        self._suspect = suspect
        self._outbox = outbox
        self._emit = outbox.emit
        self.history = history
        self._gate = RunGate()
        self._message_s = 0.0
        self._leaving = False

    # What is said by whoever works

    @abstractmethod
    def _finish_late(self, batch: Batch) -> None:
        """No message of a batch is worked on: all have ended before."""

    @abstractmethod
    def _tell(self, batch: Batch, *, again: bool) -> None:
        """Pass a Start or Stop on, unless that was done."""

    # What the shell looks at

    @property
    def dropped(self) -> int:
        """Messages that pub-sub links above have lost on the way here."""
        return self._senders.dropped + self._gate.dropped

    @property
    def inputs_finished(self) -> bool:
        """Whether every replica above has finished for good."""
        return self._senders.all_finished

    @property
    def inputs_left(self) -> bool:
        """Whether every replica above that was ever here has said End; for a stage that leaves."""
        return self._senders.known_ended

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._gate.deadline

    # Beginning and end

    def greet_all(self) -> list[Action]:
        """Say Hello to every replica above that has to know of this one. PROTOCOL 1."""
        self._greet_all()
        return self._outbox.take()

    def greet(self, above: ReplicaName) -> list[Action]:
        """Say Hello to a replica above, which may have come back and know nobody."""
        self._greet(above)
        return self._outbox.take()

    def leave(self) -> list[Action]:
        """Ask the replicas above to send no more; each answers with End. PROTOCOL 30."""
        self._leaving = True
        self.history.note("asks those above to send no more")
        for above in self._crediting.values():
            if not self._senders.has_ended(str(above)):
                self._emit(Reply(above, self._bye()))
        return self._outbox.take()

    def _greet_all(self) -> None:
        for above in {**self._neighbours, **self._sources}.values():
            self._greet(above)

    def _greet(self, above: ReplicaName) -> None:
        if self._suspect is not None and self._suspect.source == str(above):
            # PROTOCOL 42: before the Hello, which has the source send again what this life lacks.
            self._emit(Reply(above, self._suspect))
        self._emit(Reply(above, self._hello()))

    # Records

    def record(
        self, record: DataRecord, content: Any, now: float
    ) -> tuple[list[Action], list[Delivery]]:
        """Take a record from above. Returns what to send, and what the stage has to work on."""
        deliveries: list[Delivery] = []
        self.history.now = now
        if isinstance(record, Open):
            self._open(record)
        elif not isinstance(record, End):
            deliveries = self._batch(Delivery(record, content), now)
        elif self._senders.end(record.sender, record.link, final=record.final):
            self.history.note("End of {}, for good: {}", record.sender, record.final)
        else:
            self._reject(record)
        return self._outbox.take(), deliveries

    def tick(self, now: float) -> tuple[list[Action], list[Delivery]]:
        """Time has passed; returns as `record` does. Stops may have waited for long enough."""
        self.history.now = now
        return self._outbox.take(), self._gate.tick(now)

    def _hello(self) -> Hello:
        return Hello(PROTOCOL_VERSION, *self.name, incarnation=self._incarnation)

    def _bye(self) -> Bye:
        return Bye(*self.name, incarnation=self._incarnation)

    def _open(self, record: Open) -> None:
        name = ReplicaName(record.stage, record.replica)
        if str(name) not in self._crediting:
            return  # a stranger, which has no address for an answer
        if record.version != PROTOCOL_VERSION:
            reason = (
                f"{name} speaks version {record.version} of the link protocol, "
                f"{self.name} version {PROTOCOL_VERSION}: run the same release on both sides"
            )
            self.history.note("refuses {}, of protocol version {}", name, record.version)
            self._emit(Reply(name, Refuse(*self.name, PROTOCOL_VERSION, reason)))
        elif self._senders.open(str(name), record):
            self.history.note("{} opened link {}", name, record.link)
            self._emit(Reply(name, self._hello()))
            if self._leaving:
                # The Bye may have come before this link was made.
                self._emit(Reply(name, self._bye()))

    def _batch(self, delivery: Delivery, now: float) -> list[Delivery]:
        batch = delivery.batch
        deliveries: list[Delivery] = []
        count = count_of(batch)
        if not self._senders.takes(batch, count):
            self._reject(batch)
            return deliveries
        self.history.note("took batch {} of {}: {} messages", batch.number, batch.sender, count)
        for entry, each in self._gate.admit(delivery, now):
            if entry is Entry.WORK and self._is_suspicious(each.batch):
                self._lose(each.batch)
            elif entry is Entry.WORK:
                deliveries.append(each)
            elif entry is Entry.LATE:
                self.history.note("batch {} of {} is of a closed run", batch.number, batch.sender)
                self._finish_late(bury_all(each.batch, Reason.FINISHED))
            elif entry is Entry.ASK:
                self._emit(Reply(self._neighbours[batch.sender], self._hello()))
            else:
                if entry is Entry.AGAIN:
                    self._tell(each.batch, again=True)
                self._credit(each.batch)
        return deliveries

    def _is_suspicious(self, batch: Batch) -> bool:
        """Whether it holds a suspect, and left the source before that heard of the last death.

        PROTOCOL 44: what is in it comes again, a suspect alone, or as a tombstone.
        """
        suspect = self._suspect
        return (
            suspect is not None
            and batch.reliable
            and batch.suspect < self._incarnation
            and (batch.source, batch.epoch) == (suspect.source, suspect.epoch)
            and (
                batch.suspect > 0
                or any(first <= suspect.sequence < end for first, end in batch.ranges)
            )
        )

    def _reject(self, record: Batch | End) -> None:
        """PROTOCOL 20: have the sender make a new link; it tells the sources what that means."""
        self.history.note("rejects what {} sent on link {}", record.sender, record.link)
        above = self._crediting.get(record.sender)
        if above is not None:
            self._emit(Reply(above, Lost(*self.name, record.link)))

    # What is said to those above

    def skip(self, batch: Batch) -> list[Action]:
        """A batch is not worked on; the sources hear of it by `report_loss`."""
        self.history.note("skips batch {} of {}", batch.number, batch.sender)
        self._credit(batch)
        return self._outbox.take()

    def report_loss(self) -> list[Action]:
        """Have all sources send again what is not finished."""
        self._report_loss()
        return self._outbox.take()

    def _lose(self, batch: Batch) -> None:
        """A batch is not worked on: what of it is not finished has to come again."""
        self.history.note("leaves out batch {} of {}: a suspect", batch.number, batch.sender)
        if batch.reliable:
            self._report_loss()
        self._credit(batch)

    def _report_loss(self) -> None:
        self.history.note("has the sources send again")
        for source in self._sources.values():
            self._emit(Reply(source, Lost(*self.name)))

    def _acknowledge(self, acks: Iterable[Ack]) -> None:
        for ack in acks:
            if ack.source in self._sources:
                self._emit(Reply(self._sources[ack.source], ack))

    def _credit(self, batch: Batch) -> None:
        """PROTOCOL 14."""
        above = self._crediting.get(batch.sender)
        if above is not None:
            credit = Credit(*self.name, batch.link, batch.number + 1, self._message_s)
            self._emit(Reply(above, credit))
