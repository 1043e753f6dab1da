"""`Relay`: the protocol of a replica that receives, be it an operator's or a publisher's. PURE.

Records go in (`record`), deliveries come out; the shell has the stage's code work on each and
reports what became of it (`finish`). What may come, and when, is decided by `Receiver`. Rules:
- A terminal stage does nothing twice and acknowledges; any other keeps nothing.
- One batch in, one batch out, or several one after the other where the stage's code is slow; what
  ended here goes on as tombstones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from arroyo.codec import (
    BackRecord,
    Batch,
    Body,
    Bye,
    Credit,
    Hello,
    Kind,
    Lost,
    Reason,
    Suspect,
    size_of,
)
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.receiving.order import OrderBuffer
from arroyo.protocol.receiving.receiver import Receiver
from arroyo.protocol.sending.dispatcher import Dispatcher
from arroyo.protocol.sending.publication import Publication
from arroyo.protocol.values.actions import Action
from arroyo.protocol.values.batches import (
    OutgoingBatch,
    Position,
    bury,
    count_of,
    describe,
    merge,
    positions_of,
    sequences_of,
)
from arroyo.protocol.values.bounded_table import BoundedTable
from arroyo.protocol.values.deliveries import Delivery, Outcome, Output, Row, Work, as_output

from .acknowledger import Acknowledger
from .parts import cut

__all__ = ["Delivery", "Outcome", "Output", "Relay", "Work"]


class Relay(Receiver):
    """One operator or publisher replica between the stages above and below.

    Parameters as those of `Receiver`, and these:

    Parameters
    ----------
    outlets
        One per stage below that is fed by push-pull. None: paths end here.
    publication
        For pub-sub links below, where there are any.
    ordered
        Whether the stage wants the order of the source.
    flushes
        Whether what is finished counts only after the shell has said `flushed`.
    """

    def __init__(
        self,
        name: ReplicaName,
        *,
        outlets: Sequence[Dispatcher],
        publication: Publication | None,
        ordered: bool,
        flushes: bool = False,
        suspect: Suspect | None = None,
        **wiring: Any,
    ) -> None:
        super().__init__(name, suspect=suspect, **wiring)
        self._outlets = {outlet.stage: outlet for outlet in outlets}
        self._publication = publication
        self._ordered = ordered
        self._completion = Acknowledger(name, flushes=flushes)
        self._reorders: BoundedTable[tuple[str, int, int], OrderBuffer[Work]] = BoundedTable(
            OrderBuffer
        )

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
    def redelivered(self) -> int:
        """Messages that had been finished here before they came again."""
        return self._completion.redelivered

    # Beginning and end

    def connect(self) -> Iterator[Action]:
        """Make the links below, and say Hello to everyone above."""
        for outlet in self._outlets.values():
            yield from outlet.connect(self._incarnation)
        yield from self.greet_all()

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

    def knows(self, batch: Batch) -> bool:
        """Whether nothing in a batch is new, so that `finish` can answer it without its payloads.

        Where order is restored, its tombstones may be.
        """
        return (
            self.terminal
            and batch.reliable
            and batch.kind == Kind.EVENTS
            and not (self._ordered and batch.tombstones)
            and self._covers(batch)
        )

    def _covers(self, batch: Batch) -> bool:
        return self._completion.covers(batch)

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
        else:
            yield from self._finish_events(batch, work, outcomes)
        yield from self._credit(batch)

    def hand_on(
        self, batch: Batch, done: Sequence[Work], outcomes: Sequence[Outcome]
    ) -> tuple[list[Action], Batch]:
        """The stage's code is through with the first messages of a delivery, and works on.

        Parameters
        ----------
        done, outcomes
            The first of what `plan` gave, and what became of each.

        Returns
        -------
        tuple
            What to do now, and the batch that is left for the next `hand_on` and for `finish`,
            as are those of the work that are not in `done`.
        """
        head, rest = cut(batch, done)
        return list(self._finish_events(head, done, outcomes)), rest

    def _finish_events(
        self, batch: Batch, work: Sequence[Work], outcomes: Sequence[Outcome]
    ) -> Iterator[Action]:
        if self._is_one_to_one(batch, outcomes):
            yield from self._finish_whole(batch, outcomes)
            return
        outputs = [as_output(outcome) for outcome in outcomes]
        if self._outlets or self._publication is not None:
            yield from self._send_on(batch, work, outputs)
        if self.terminal and batch.reliable:
            yield from self._reply(self._completion.finish(batch, work, outputs))

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
            yield from self._offer(OutgoingBatch(header, outcomes, size_of(outcomes)))
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
        load = OutgoingBatch(msgspec.structs.replace(batch, **fields), items, size, keys or None)
        if items or stones:
            yield from self._offer(load)

    def _offer(self, load: OutgoingBatch) -> Iterator[Action]:
        for outlet in self._outlets.values():
            yield from outlet.offer(load)
        if self._publication is not None and load.items:
            yield from self._publication.offer(load)

    def flushed(self, refused: Mapping[Origin, Reason] | None = None) -> Iterator[Action]:
        """What was finished so far is safe now, but for what was refused, which has ended."""
        yield from self._reply(self._completion.flushed(refused))

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
                OutgoingBatch(msgspec.structs.replace(batch, detached=(), slabs=()), [item])
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
            yield from self.report_loss()
