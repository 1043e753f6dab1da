"""`Relay`: the protocol of a replica that receives, be it an operator's or a publisher's. PURE.

Records go in (`record`), deliveries come out; the shell has the stage's code work on each and
reports what became of it (`finish`). Each call returns what the shell has to do, in order. What may
come, and when, is decided by `Receiver`; what is below is known to `Downstream`. Rules:
- A terminal stage does nothing twice and acknowledges; any other keeps nothing.
- One batch in, one batch out, or several one after the other where the stage's code is slow; what
  ended here goes on as tombstones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from arroyo.protocol.sending.downstream import Downstream, Loss
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
from arroyo.protocol.values.deliveries import (
    Delivery,
    Outcome,
    Output,
    Row,
    Work,
    all_published,
    as_output,
)
from arroyo.protocol.values.history import History
from arroyo.protocol.values.outbox import Outbox

from .acknowledger import Acknowledger
from .parts import cut

__all__ = ["Delivery", "Outcome", "Output", "Relay", "Work"]


class Relay(Receiver):
    """One operator or publisher replica between the stages above and below.

    Parameters as those of `Receiver`, and these:

    Parameters
    ----------
    downstream
        All stages below. Paths end here if none of them is fed by push-pull.
    ordered
        Whether the stage wants the order of the source.
    flushes
        Whether what is finished counts only after the shell has said `flushed`.
    """

    def __init__(
        self,
        name: ReplicaName,
        *,
        incarnation: int,
        senders: Mapping[ReplicaName, bool],
        sources: Sequence[ReplicaName],
        downstream: Downstream,
        ordered: bool,
        outbox: Outbox,
        history: History,
        flushes: bool = False,
        suspect: Suspect | None = None,
    ) -> None:
        super().__init__(
            name,
            incarnation=incarnation,
            senders=senders,
            sources=sources,
            suspect=suspect,
            outbox=outbox,
            history=history,
        )
        self._downstream = downstream
        self.terminal = not downstream.reliable
        """Whether paths end here."""
        self._ordered = ordered
        self._acknowledger = Acknowledger(name, flushes=flushes)
        self._reorders: BoundedTable[tuple[str, int, int], OrderBuffer[Work]] = BoundedTable(
            OrderBuffer
        )

    # What the shell looks at

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent, so that no input may be taken."""
        return self._downstream.blocked

    @property
    def in_flight(self) -> int:
        """Messages sent below and not credited."""
        return self._downstream.in_flight

    @property
    def redelivered(self) -> int:
        """Messages that had been finished here before they came again."""
        return self._acknowledger.redelivered

    # Beginning and end

    def connect(self) -> list[Action]:
        """Make the links below, and say Hello to everyone above."""
        self._downstream.connect()
        self._greet_all()
        return self._outbox.take()

    def end(self, *, final: bool) -> list[Action]:
        """Nothing more will go out: say End below, for good or for this life only."""
        self.history.note("gives out no more, for good: {}", final)
        self._downstream.end(final=final)
        return self._outbox.take()

    @property
    def ended(self) -> bool:
        """Whether all has left and has been taken up. PROTOCOL 31."""
        return self._downstream.ended and not self._downstream.in_flight

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
        return self._acknowledger.covers(batch)

    def _select_new(self, batch: Batch, work: Sequence[Work]) -> Sequence[Work]:
        """Leave out what was done before."""
        return self._acknowledger.select_new(batch, work)

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
    ) -> list[Action]:
        """The stage's code is through with a delivery.

        Parameters
        ----------
        work, outcomes
            What `plan` gave, and what became of each.
        message_s
            How long one message took, in s.
        """
        self._message_s = message_s
        self.history.note("finished batch {} of {}", batch.number, batch.sender)
        if batch.kind != Kind.EVENTS:
            self._finish_control(batch, outcomes)
        else:
            self._finish_events(batch, work, outcomes)
        self._credit(batch)
        return self._outbox.take()

    def _finish_late(self, batch: Batch) -> None:
        self._finish_events(batch, (), ())
        self._credit(batch)

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
        count = len(done)
        self.history.note("handed on {} of batch {} of {}", count, batch.number, batch.sender)
        head, rest = cut(batch, done)
        self._finish_events(head, done, outcomes)
        return self._outbox.take(), rest

    def _finish_events(
        self, batch: Batch, work: Sequence[Work], outcomes: Sequence[Outcome]
    ) -> None:
        if self._is_one_to_one(batch, outcomes):
            self._finish_whole(batch, outcomes)
            return
        outputs = [as_output(outcome) for outcome in outcomes]
        if not self._downstream.empty:
            self._send_on(batch, work, outputs)
        if self.terminal and batch.reliable:
            self._acknowledge(self._acknowledger.finish(batch, work, outputs))

    def _is_one_to_one(self, batch: Batch, outcomes: Sequence[Outcome]) -> bool:
        """Whether exactly one thing came of each message in the batch, in the same order."""
        return (
            not batch.fragments
            and not self._ordered
            and (
                type(outcomes) is Body
                or all_published(outcomes)
                or Output not in set(map(type, outcomes))
            )
            and len(outcomes) == count_of(batch)
        )

    def _finish_whole(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Do for the whole batch at once what is else done message by message."""
        forward = not self._downstream.empty
        if forward and (type(outcomes) is Body or not outcomes or outcomes[0] is not None):
            header = batch
            if batch.detached or batch.slabs:
                header = msgspec.structs.replace(batch, detached=(), slabs=())
            self._downstream.send(OutgoingBatch(header, outcomes, size_of(outcomes)))
        if self.terminal and batch.reliable:
            self._acknowledge(self._acknowledger.finish_whole(batch))

    def _send_on(self, batch: Batch, work: Sequence[Work], outputs: Sequence[Output]) -> None:
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
        onward = OutgoingBatch(msgspec.structs.replace(batch, **fields), items, size, keys or None)
        if items or stones:
            self._downstream.send(onward)

    def flushed(self, refused: Mapping[Origin, Reason] | None = None) -> list[Action]:
        """What was finished so far is safe now, but for what was refused, which has ended."""
        self.history.note("flushed, {} refused", len(refused or ()))
        self._acknowledge(self._acknowledger.flushed(refused))
        return self._outbox.take()

    # Start and Stop

    def _finish_control(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        items = [item for outcome in outcomes for item in as_output(outcome).items]
        self._gate.note(batch, items[0] if items else None)
        self._tell(batch, again=False)

    def _tell(self, batch: Batch, *, again: bool) -> None:
        """PROTOCOL 19: pass a Start or Stop on, unless that was done."""
        if not self._gate.tells(batch):
            return
        item = self._gate.item(batch)
        if item is not None:
            self._downstream.send(
                OutgoingBatch(msgspec.structs.replace(batch, detached=(), slabs=()), [item])
            )
        if self.terminal and batch.reliable and batch.kind != Kind.CLOSING:
            self._acknowledge(self._acknowledger.finish_whole(batch, again=again))

    # From below

    def back(self, record: BackRecord, now: float) -> list[Action]:
        """Take a record from below."""
        self.history.now = now
        if isinstance(record, Hello | Credit | Bye | Lost):
            self._pass_on(self._downstream.record(record))
        return self._outbox.take()

    def disconnected(self, replica: ReplicaName, link: int) -> list[Action]:
        """The link to a replica below broke."""
        self._pass_on(self._downstream.disconnected(replica, link))
        return self._outbox.take()

    def _pass_on(self, loss: Loss) -> None:
        """Only those above keep what was sent; further below, they hear of it themselves."""
        if loss is Loss.NEAR:
            self._report_loss()
