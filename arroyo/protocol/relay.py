"""`Relay`: the protocol of a replica that receives, be it an operator's or a publisher's. PURE.

Records go in (`record`), deliveries come out; the shell has the stage's code work on each and
reports what became of it (`finish`). Rules:
- Start before the first event, Stop after the last, each once per run, whatever came how often.
- A terminal stage does nothing twice and acknowledges; any other keeps nothing.
- One batch in, one batch out; what ended here goes on as tombstones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from arroyo.codec import (
    PROTOCOL_VERSION,
    Ack,
    BackRecord,
    Batch,
    Body,
    Bye,
    Credit,
    DataRecord,
    End,
    Hello,
    Kind,
    Lost,
    Open,
    Reason,
    Refuse,
    Suspect,
    size_of,
)
from arroyo.identifiers import ReplicaName

from .actions import Action, Reply
from .completion import Completion
from .loads import (
    Load,
    Position,
    bury,
    bury_all,
    count_of,
    describe,
    merge,
    positions_of,
    sequences_of,
)
from .outlets import Outlet
from .publication import Publication
from .recent import Recent
from .reorder import Reorder
from .run_gate import Entry, RunGate
from .senders import Senders
from .work import Delivery, Outcome, Output, Row, Work, as_output

__all__ = ["Delivery", "Outcome", "Output", "Relay", "Work"]


class Relay:
    """One operator or publisher replica between the stages above and below.

    Parameters
    ----------
    name, incarnation
        Who this is, and in which life.
    senders
        Every replica above that sends to it, and whether by pub-sub.
    sources
        Every replica above, near or far, that may have a ledger: listeners and operators.
    outlets
        One per stage below that is fed by push-pull. None: paths end here.
    publication
        For pub-sub links below, where there are any.
    ordered
        Whether the stage wants the order of the source.
    flushes
        Whether what is finished counts only after the shell has said `flushed`.
    suspect
        The message that the life before this one has died of, if there is one.
    """

    def __init__(
        self,
        name: ReplicaName,
        *,
        incarnation: int,
        senders: Mapping[ReplicaName, bool],
        sources: Sequence[ReplicaName],
        outlets: Sequence[Outlet],
        publication: Publication | None,
        ordered: bool,
        flushes: bool = False,
        suspect: Suspect | None = None,
    ) -> None:
        self.name = name
        self._incarnation = incarnation
        self._neighbours = {str(above): above for above in senders}
        self._crediting = {str(above): above for above, pub_sub in senders.items() if not pub_sub}
        self._senders = Senders({str(above): pub_sub for above, pub_sub in senders.items()})
        self._sources = {str(source): source for source in sources}
        self._outlets = {outlet.stage: outlet for outlet in outlets}
        self._publication = publication
        self._ordered = ordered
        self._suspect = suspect
        self._gate = RunGate()
        self._completion = Completion(name, flushes=flushes)
        self._reorders: Recent[tuple[str, int, int], Reorder[Work]] = Recent(Reorder)
        self._message_s = 0.0
        self._leaving = False

    # What the shell looks at

    @property
    def terminal(self) -> bool:
        """Whether paths end here."""
        return not self._outlets

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent, so that no input may be taken."""
        return any(outlet.blocked for outlet in self._outlets.values())

    @property
    def in_flight(self) -> int:
        """Messages sent below and not credited."""
        return sum(outlet.in_flight for outlet in self._outlets.values())

    @property
    def dropped(self) -> int:
        """Messages that pub-sub links above have lost on the way here."""
        return self._senders.dropped + self._gate.dropped

    @property
    def redelivered(self) -> int:
        """Messages that had been finished here before they came again."""
        return self._completion.redelivered

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

    def connect(self) -> Iterator[Action]:
        """Make the links below, and say Hello to everyone above."""
        for outlet in self._outlets.values():
            yield from outlet.connect(self._incarnation)
        yield from self.greet_all()

    def greet_all(self) -> Iterator[Action]:
        """Say Hello to every replica above that has to know of this one."""
        for above in {**self._neighbours, **self._sources}.values():
            yield from self.greet(above)

    def greet(self, above: ReplicaName) -> Iterator[Action]:
        """Say Hello to a replica above, which may have come back and know nobody."""
        if self._suspect is not None and self._suspect.source == str(above):
            # Before the Hello, which has the source send again what this life lacks.
            yield Reply(above, self._suspect)
        yield Reply(above, self._hello())

    def leave(self) -> Iterator[Action]:
        """Ask the replicas above to send no more; each answers with End."""
        self._leaving = True
        for above in self._crediting.values():
            if not self._senders.has_ended(str(above)):
                yield Reply(above, self._bye())

    def end(self, *, final: bool) -> Iterator[Action]:
        """Nothing more will go out: say End below, for good or for this life only."""
        for outlet in self._outlets.values():
            yield from outlet.end(final=final)
        if self._publication is not None:
            yield from self._publication.end(final=final)

    @property
    def ended(self) -> bool:
        """Whether all has left and has been taken up."""
        return all(outlet.ended and not outlet.in_flight for outlet in self._outlets.values())

    # From above

    def record(
        self, record: DataRecord, content: Any, now: float
    ) -> tuple[list[Action], list[Delivery]]:
        """Take a record from above. Returns what to send, and what the stage has to work on."""
        if isinstance(record, Open):
            return list(self._open(record)), []
        if isinstance(record, End):
            known = self._senders.end(record.sender, record.link, final=record.final)
            return ([] if known else self._reject(record)), []
        return self._batch(Delivery(record, content), now)

    def tick(self, now: float) -> tuple[list[Action], list[Delivery]]:
        """Time has passed; returns as `record` does. Stops may have waited for long enough."""
        return [], self._gate.tick(now)

    def _hello(self) -> Hello:
        return Hello(PROTOCOL_VERSION, *self.name, incarnation=self._incarnation)

    def _bye(self) -> Bye:
        return Bye(*self.name, incarnation=self._incarnation)

    def _open(self, record: Open) -> Iterator[Action]:
        name = ReplicaName(record.stage, record.replica)
        if record.version != PROTOCOL_VERSION:
            reason = (
                f"{name} speaks version {record.version} of the link protocol, "
                f"{self.name} version {PROTOCOL_VERSION}: run the same release on both sides"
            )
            yield Reply(name, Refuse(*self.name, PROTOCOL_VERSION, reason))
        elif self._senders.open(str(name), record):
            yield Reply(name, self._hello())
            if self._leaving:
                # The Bye may have come before this link was made.
                yield Reply(name, self._bye())

    def _batch(self, delivery: Delivery, now: float) -> tuple[list[Action], list[Delivery]]:
        batch = delivery.batch
        if not self._senders.takes(batch, count_of(batch)):
            return self._reject(batch), []
        actions: list[Action] = []
        deliveries: list[Delivery] = []
        for entry, each in self._gate.admit(delivery, now):
            if entry is Entry.WORK and self._is_suspicious(each.batch):
                actions += self.lose(each.batch)
            elif entry is Entry.WORK:
                deliveries.append(each)
            elif entry is Entry.LATE:
                late = bury_all(each.batch, Reason.FINISHED)
                actions += self.finish(late, (), (), self._message_s)
            elif entry is Entry.ASK:
                actions.append(Reply(self._neighbours[batch.sender], self._hello()))
            else:
                if entry is Entry.AGAIN:
                    actions += self._tell(each.batch, again=True)
                actions += self._credit(each.batch)
        return actions, deliveries

    def _is_suspicious(self, batch: Batch) -> bool:
        """Whether it holds a suspect, and left the source before that heard of the last death.

        What is in it comes again: a suspect alone, or as a tombstone.
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

    def _reject(self, record: Batch | End) -> list[Action]:
        """Have the sender make a new link; it tells the sources what that means."""
        above = self._crediting.get(record.sender)
        return [] if above is None else [Reply(above, Lost(*self.name, record.link))]

    def _report_loss(self) -> Iterator[Action]:
        for source in self._sources.values():
            yield Reply(source, Lost(*self.name))

    # The stage's work

    def plan(self, batch: Batch, messages: Sequence[Any]) -> Sequence[Work]:
        """Say which messages of a delivery are to be worked on now, and in which order.

        Raises
        ------
        ValueError
            The header promises another number of messages than came.
        """
        count = count_of(batch)
        if count != len(messages):
            raise ValueError(f"{count} messages were announced, {len(messages)} came")
        work: Sequence[Work]
        if batch.fragments:
            work = [
                (*position, message)
                for position, message in zip(positions_of(batch), messages, strict=True)
            ]
        else:
            work = Row(sequences_of(batch), messages)
        if batch.kind != Kind.EVENTS:
            return work
        if self.terminal and batch.reliable:
            work = self._select_new(batch, work)
        if self._ordered and batch.reliable:
            work = self._restore_order(batch, work)
        return work

    def _select_new(self, batch: Batch, work: Sequence[Work]) -> Sequence[Work]:
        """Leave out what was done before."""
        return self._completion.select_new(batch, work)

    def _places_passed(self, batch: Batch, work: Sequence[Work]) -> Iterable[Position]:
        """Messages that are not new to this stage, though they may be to what restores order."""
        return ()

    def _restore_order(self, batch: Batch, work: Sequence[Work]) -> list[Work]:
        reorder = self._reorders[batch.source, batch.epoch, batch.path]
        # A run begins when the one before is quiet: what is below its base is finished.
        start = max(batch.frontier, batch.base)
        released = reorder.skip_to(start)
        for sequence, fragment in self._places_passed(batch, work):
            released += reorder.bury(sequence, sequence + 1, fragment)
        for each in work:
            if not self.terminal and start <= each[0] < reorder.next:
                # It went on before, but was lost below: it has to go the way again.
                released.append(each)
            else:
                released += reorder.push(each[0], each[1], each)
        for stone in batch.tombstones:
            released += reorder.bury(stone.first, stone.end, stone.fragment)
        return released

    def finish(
        self, batch: Batch, work: Sequence[Work], outcomes: Sequence[Outcome], message_s: float
    ) -> Iterator[Action]:
        """The stage's code is through with a delivery.

        Parameters
        ----------
        work, outcomes
            What `plan` gave, and what became of each.
        message_s
            How long one message took, in s.
        """
        self._message_s = message_s
        if batch.kind != Kind.EVENTS:
            yield from self._finish_control(batch, outcomes)
        elif self._is_one_to_one(batch, outcomes):
            yield from self._finish_whole(batch, outcomes)
        else:
            outputs = [as_output(outcome) for outcome in outcomes]
            if self._outlets or self._publication is not None:
                yield from self._send_on(batch, work, outputs)
            if self.terminal and batch.reliable:
                yield from self._reply(self._completion.finish(batch, work, outputs))
        yield from self._credit(batch)

    def lose(self, batch: Batch) -> Iterator[Action]:
        """The payloads of a batch are gone: what of it is not finished has to come again."""
        if batch.reliable:
            yield from self._report_loss()
        yield from self._credit(batch)

    def _is_one_to_one(self, batch: Batch, outcomes: Sequence[Outcome]) -> bool:
        """Whether exactly one thing came of each message in the batch, in the same order."""
        return (
            not batch.fragments
            and not self._ordered
            and (type(outcomes) is Body or Output not in set(map(type, outcomes)))
            and len(outcomes) == count_of(batch)
        )

    def _finish_whole(self, batch: Batch, outcomes: Sequence[Outcome]) -> Iterator[Action]:
        """Do for the whole batch at once what is else done message by message."""
        forward = bool(self._outlets) or self._publication is not None
        if forward and (type(outcomes) is Body or not outcomes or outcomes[0] is not None):
            header = batch
            if batch.detached or batch.slabs:
                header = msgspec.structs.replace(batch, detached=(), slabs=())
            yield from self._offer(Load(header, outcomes, size_of(outcomes)))
        if self.terminal and batch.reliable:
            yield from self._reply(self._completion.finish_whole(batch))

    def _send_on(
        self, batch: Batch, work: Sequence[Work], outputs: Sequence[Output]
    ) -> Iterator[Action]:
        positions: list[Position] = []
        items: list[Any] = []
        keys: list[int] = []
        size = 0
        stones = list(batch.tombstones)
        for (sequence, fragment, _), output in zip(work, outputs, strict=True):
            count = len(output.items)
            if count == 1:
                positions.append((sequence, fragment))
            elif count:
                parts = [((index, count),) for index in range(count)]
                positions += [(sequence, (*fragment, *part)) for part in parts]
            else:
                reason = Reason.FILTERED if output.reason is None else output.reason
                stones += bury([(sequence, fragment)], reason)
            items += output.items
            keys += output.keys
            size += output.size
        fields = describe(positions) | {"tombstones": merge(stones), "detached": (), "slabs": ()}
        load = Load(msgspec.structs.replace(batch, **fields), items, size, keys or None)
        if items or stones:
            yield from self._offer(load)

    def _offer(self, load: Load) -> Iterator[Action]:
        for outlet in self._outlets.values():
            yield from outlet.offer(load)
        if self._publication is not None and load.items:
            yield from self._publication.offer(load)

    def flushed(self) -> Iterator[Action]:
        """What was finished so far is safe now."""
        yield from self._reply(self._completion.flushed())

    def _reply(self, acks: Iterable[Ack]) -> Iterator[Action]:
        for ack in acks:
            if ack.source in self._sources:
                yield Reply(self._sources[ack.source], ack)

    def _credit(self, batch: Batch) -> Iterator[Action]:
        above = self._crediting.get(batch.sender)
        if above is not None:
            credit = Credit(*self.name, batch.link, batch.number + 1, self._message_s)
            yield Reply(above, credit)

    # Start and Stop

    def _finish_control(self, batch: Batch, outcomes: Sequence[Outcome]) -> Iterator[Action]:
        items = [item for outcome in outcomes for item in as_output(outcome).items]
        self._gate.note(batch, items[0] if items else None)
        yield from self._tell(batch, again=False)

    def _tell(self, batch: Batch, *, again: bool) -> Iterator[Action]:
        """Pass a Start or Stop on, unless that was done."""
        if not self._gate.tells(batch):
            return
        item = self._gate.item(batch)
        if item is not None:
            yield from self._offer(
                Load(msgspec.structs.replace(batch, detached=(), slabs=()), [item])
            )
        if self.terminal and batch.reliable and batch.kind != Kind.CLOSING:
            yield from self._reply(self._completion.finish_whole(batch, again=again))

    # From below

    def back(self, record: BackRecord, now: float) -> Iterator[Action]:
        """Take a record from below."""
        if isinstance(record, Credit):
            if record.stage in self._outlets:
                yield from self._outlets[record.stage].credit(record)
        elif isinstance(record, Hello):
            if record.stage in self._outlets:
                yield from self._after(self._outlets[record.stage].hello(record))
            elif self._publication is not None:
                yield from self._publication.repeat_starts()
        elif isinstance(record, Bye) and record.stage in self._outlets:
            yield from self._outlets[record.stage].bye(record)
        elif isinstance(record, Lost) and record.link is not None:
            yield from self.disconnected(ReplicaName(record.stage, record.replica), record.link)

    def disconnected(self, replica: ReplicaName, link: int) -> Iterator[Action]:
        """The link to a replica below broke."""
        if replica.stage in self._outlets:
            outlet = self._outlets[replica.stage]
            yield from self._after(outlet.disconnected(replica.replica, link))

    def _after(self, change: tuple[list[Action], bool]) -> Iterator[Action]:
        """Do what an outlet says, and report what was lost with a replica."""
        actions, lost = change
        yield from actions
        if lost:
            yield from self._report_loss()
