"""`Receiver`: what comes to a replica from above, and which of it is to be worked on. PURE.

Records go in; out comes what the stage has to do with which batches. What is made of a batch, and
what goes on, is said by `Relay` and `Fold`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from arroyo.codec import PROTOCOL_VERSION, Batch, DataRecord, Kind, Open, Reason, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Action, Outbox
from arroyo.protocol.values.batches import count_of, end_all, positions_of, sequences_of
from arroyo.protocol.values.deduplication import Deduplication
from arroyo.protocol.values.deliveries import Delivery, LazyWork, Work
from arroyo.protocol.values.history import History

from .inbound_links import InboundLinks, LinkPlaces
from .run_gate import Admission, RunGate, Verdict
from .source_order import SourceOrder
from .upstream import Upstream


class Receiver:
    """The links from above to one replica.

    `known`: what came before, where paths end here; None: nothing is remembered.
    `ordered`: whether the stage wants the order of the source.
    """

    def __init__(
        self,
        upstream: Upstream,
        known: Deduplication | None,
        *,
        ordered: bool,
        outbox: Outbox,
        history: History,
    ) -> None:
        self.upstream = upstream
        self.history = history
        self.gate = RunGate()
        self.ordered = ordered
        self._known = known
        self._order = SourceOrder(passes_again=known is None) if ordered else None
        self._links = InboundLinks(upstream.senders)
        self._outbox = outbox
        self._leaving = False
        self._skipped = 0
        """Messages that were left out and do not come again."""

    # What the shell looks at

    @property
    def dropped(self) -> int:
        """Messages of pub-sub links above that were lost on the way here."""
        return self._links.dropped + self.gate.dropped + self._skipped

    @property
    def redelivered(self) -> int:
        """Messages that were known here before they came again."""
        return 0 if self._known is None else self._known.redelivered

    @property
    def inputs_finished(self) -> bool:
        """Whether every replica above has finished for good."""
        return self._links.all_finished

    @property
    def inputs_left(self) -> bool:
        """Whether every replica above that was ever here has said End; for a stage that leaves."""
        return self._links.known_ended

    # Coming and going

    def resume(self, left: LinkPlaces) -> None:
        """Go on where the life before has left pub-sub links."""
        self._links.resume(left)

    @property
    def places(self) -> LinkPlaces:
        """Where pub-sub links are left, for the next life."""
        return self._links.places

    def greet_all(self) -> list[Action]:
        """Say Hello to every replica above that has to know of this one. PROTOCOL 1."""
        self.upstream.greet_all()
        return self._outbox.take()

    def greet(self, above: ReplicaName) -> list[Action]:
        """Say Hello to a replica above, which may have come back and know none below."""
        self.upstream.greet(above)
        return self._outbox.take()

    def leave(self) -> list[Action]:
        """Ask the replicas above to send no more; each answers with End. PROTOCOL 30."""
        self._leaving = True
        self.history.note("asks those above to send no more")
        for above in self.upstream.crediting:
            if not self._links.has_ended(str(above)):
                self.upstream.leave(above)
        return self._outbox.take()

    # Records

    def record(
        self,
        record: DataRecord,
        content: Any,
        now: float,
        tell_again: Callable[[Batch], None],
        finish: Callable[[Batch], None],
    ) -> list[Delivery]:
        """Take a record from above; return what is to be worked on, which is credited after that.

        `tell_again`: called for a Start or Stop that the stage has seen. `finish`: called for
        events that are only acknowledged.
        """
        self.history.now = now
        deliveries: list[Delivery] = []
        if isinstance(record, Batch):
            for verdict, each in self._batch(Delivery(record, content), now):
                if verdict is Verdict.WORK:
                    deliveries.append(each)
                    continue
                if verdict is Verdict.AGAIN:
                    tell_again(each.batch)
                else:
                    finish(end_all(each.batch, Reason.FINISHED))
                self.upstream.credit(each.batch)
        elif isinstance(record, Open):
            self._open(record)
        elif self._links.end(record.sender, record.link, final=record.final):
            self.history.note("End of {}, for good: {}", record.sender, record.final)
        else:
            self.upstream.reject(record)
        return deliveries

    def _open(self, record: Open) -> None:
        name = ReplicaName(record.stage, record.replica)
        if not self.upstream.has_link_from(name):
            return  # a stranger, which has no address for an answer
        if record.version != PROTOCOL_VERSION:
            self.upstream.refuse(name, record.version)
        elif self._links.open(str(name), record):
            self.history.note("{} opened link {}", name, record.link)
            self.upstream.answer(name)
            if self._leaving:
                # The Bye may have come before this link was made.
                self.upstream.leave(name)

    def _batch(self, delivery: Delivery, now: float) -> list[Admission]:
        batch = delivery.batch
        admissions: list[Admission] = []
        number, count = batch.number, count_of(batch)
        if not self._links.takes(batch, count):
            self.upstream.reject(batch)
            return admissions
        self.history.note("took batch {} of {}: {} messages", number, batch.sender, count)
        if batch.kind == Kind.CLOSING and self._is_for_another_life(batch):
            self.upstream.credit(batch)
            return admissions
        suspect = self.upstream.suspect
        for verdict, each in self.gate.admit(delivery, now):
            if verdict is Verdict.NOTHING:
                self.upstream.credit(each.batch)
            elif verdict is Verdict.ASK:
                self.upstream.ask_for_start(batch.sender)
            elif suspect and verdict is Verdict.WORK and self._is_suspicious(each.batch, suspect):
                self._lose(each.batch)
            else:
                if verdict is Verdict.LATE:
                    self.history.note("batch {} of {} is of a closed run", number, batch.sender)
                admissions.append((verdict, each))
        return admissions

    def _is_for_another_life(self, batch: Batch) -> bool:
        """Whether a Stop is announced to a life of this fold before: what it held is to come.

        PROTOCOL 55: the announcement has no holders where no Stop follows, and all but folds
        without a bound are finished.
        """
        this_life = (*self.upstream.name, self.upstream.incarnation)
        return self.upstream.sticky and bool(batch.holders) and this_life not in batch.holders

    def _is_suspicious(self, batch: Batch, suspect: Suspect) -> bool:
        """Whether it holds a suspect, and left the source before that heard of the last death.

        PROTOCOL 44: what is in it comes again, a suspect alone, or as a tombstone.
        """
        return (
            batch.reliable
            and batch.suspect < self.upstream.incarnation
            and (batch.source, batch.epoch) == (suspect.source, suspect.epoch)
            and (
                batch.suspect > 0
                or any(first <= suspect.sequence < end for first, end in batch.ranges)
            )
        )

    def _lose(self, batch: Batch) -> None:
        """Leave a batch out: what is not finished of it has to come again."""
        self.history.note("leaves out batch {} of {}: a suspect", batch.number, batch.sender)
        self.upstream.report_loss()
        self.upstream.credit(batch)

    def tick(self, now: float) -> list[Delivery]:
        """Time has passed: return Stops that have waited for long enough."""
        self.history.now = now
        return self.gate.tick(now)

    # What is worked on

    def plan(self, batch: Batch, messages: Sequence[Any]) -> Sequence[Work]:
        """Say which messages of a delivery are to be worked on now, and in which order.

        ValueError: the header promises another number of messages than came.
        """
        count = count_of(batch)
        if count != len(messages):
            raise ValueError(f"{count} messages were announced, {len(messages)} came")
        work: Sequence[Work]
        if count == 1 and not batch.fragments:
            work = [(batch.ranges[0][0], (), messages[0])]
        elif batch.fragments:
            work = [
                (*position, message)
                for position, message in zip(positions_of(batch), messages, strict=True)
            ]
        else:
            work = LazyWork(sequences_of(batch), messages)
        if batch.kind != Kind.EVENTS or not batch.reliable:
            return work
        if self._known is not None:
            work = self._known.select_new(batch, work)
        return work if self._order is None else self._order.restore(batch, work)

    def knows(self, batch: Batch) -> bool:
        """Whether nothing in a batch is new, so that it can be answered without its payloads.

        Where order is restored, its tombstones may be.
        """
        return (
            self._known is not None
            and batch.reliable
            and batch.kind == Kind.EVENTS
            and not (self.ordered and batch.tombstones)
            and self._known.covers(batch)
        )

    def skip(self, batch: Batch) -> list[Action]:
        """Leave a batch out; `report_loss` has the sources send it again.

        Nobody sends again what came by a pub-sub link.
        """
        self.history.note("skips batch {} of {}", batch.number, batch.sender)
        if not batch.reliable and batch.kind == Kind.EVENTS:
            self._skipped += count_of(batch)
        self.upstream.credit(batch)
        return self._outbox.take()

    def report_loss(self) -> list[Action]:
        """Have all sources send again what is not finished."""
        self.upstream.report_loss()
        return self._outbox.take()
