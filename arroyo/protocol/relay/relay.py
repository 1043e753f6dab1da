"""`Relay`: the protocol of a replica that receives, be it an operator's or a publisher's. PURE.

Records go in (`record`), deliveries come out; the shell has the stage's code work on each and
reports what became of it (`finish`). Each call returns what the shell has to do, in order. A relay
has a `Receiver`, which says what may come and when, a `Downstream`, which knows the links below,
and where paths end an `Acknowledger`. Rules:
- PROTOCOL 11: one batch in, one batch out, or several one after the other where the stage's code is
  slow; what ended here goes on as tombstones.
- PROTOCOL 15: where paths end, nothing is done twice and all is acknowledged; else nothing is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from arroyo.codec import Ack, BackRecord, Batch, Body, DataRecord, Kind, Reason, size_of
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.receiving.receiver import Receiver
from arroyo.protocol.sending.downstream import Downstream, LossSign
from arroyo.protocol.values.actions import Action, Outbox
from arroyo.protocol.values.batches import (
    OutgoingBatch,
    Position,
    count_of,
    describe,
    merge,
    split_done,
    tombstones_for,
)
from arroyo.protocol.values.deliveries import (
    Delivery,
    Outcome,
    Output,
    Work,
    all_published,
    as_output,
)

from .acknowledger import Acknowledger


class Relay:
    """One operator or publisher replica between the stages above and below.

    `acknowledger`: where paths end here; None: they go on.
    """

    def __init__(
        self,
        receiver: Receiver,
        downstream: Downstream,
        acknowledger: Acknowledger | None,
        outbox: Outbox,
    ) -> None:
        self.receiver = receiver
        self._history = receiver.history
        self._upstream = receiver.upstream
        self._gate = receiver.gate
        self._downstream = downstream
        self._acknowledger = acknowledger
        self._outbox = outbox

    # What the shell looks at

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent, so that no input may be taken. PROTOCOL 9."""
        return self._downstream.blocked

    @property
    def in_flight(self) -> int:
        """Messages sent below and not credited."""
        return self._downstream.in_flight

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._gate.deadline

    @property
    def ended(self) -> bool:
        """Whether all has left and has been taken up. PROTOCOL 31."""
        return self._downstream.ended and not self._downstream.in_flight

    # Beginning and end

    def connect(self) -> list[Action]:
        """Make the links below, and say Hello to everyone above."""
        self._downstream.connect()
        return self.receiver.greet_all()

    def end(self, *, final: bool) -> list[Action]:
        """Nothing more will go out: say End below, for good or for this life only."""
        self._history.note("gives out no more, for good: {}", final)
        self._downstream.end(final=final)
        return self._outbox.take()

    # From above

    def record(
        self, record: DataRecord, content: Any, now: float
    ) -> tuple[list[Action], list[Delivery]]:
        """Take a record from above. Returns what to send, and what the stage has to work on."""
        deliveries = self.receiver.record(record, content, now, self._tell, self._finish_events)
        return self._outbox.take(), deliveries

    def tick(self, now: float) -> tuple[list[Action], list[Delivery]]:
        """Time has passed; returns as `record` does."""
        return [], self.receiver.tick(now)

    # The stage's work

    def finish(
        self, batch: Batch, work: Sequence[Work], outcomes: Sequence[Outcome], message_s: float
    ) -> list[Action]:
        """The stage's code is done with a delivery.

        `work`, `outcomes`: what `Receiver.plan` gave, and what became of each; `message_s`: how
        long one message took, in s.
        """
        self._upstream.message_s = message_s
        self._history.note("finished batch {} of {}", batch.number, batch.sender)
        if batch.kind != Kind.EVENTS:
            items = [item for outcome in outcomes for item in as_output(outcome).items]
            self._gate.note(batch, items[0] if items else None)
            self._tell(batch, again=False)
        else:
            self._finish_events(batch, work, outcomes)
        self._upstream.credit(batch)
        return self._outbox.take()

    def hand_on(
        self, batch: Batch, done: Sequence[Work], outcomes: Sequence[Outcome]
    ) -> tuple[list[Action], Batch]:
        """The stage's code is done with the first messages of a delivery, and works on.

        `done`, `outcomes`: the first of what `Receiver.plan` gave, and what became of each.
        Returns what to do now, and the batch that is left for the next `hand_on` and for `finish`,
        as are those of the work that are not in `done`.
        """
        count = len(done)
        self._history.note("handed on {} of batch {} of {}", count, batch.number, batch.sender)
        head, rest = split_done(batch, done)
        self._finish_events(head, done, outcomes)
        return self._outbox.take(), rest

    def _finish_events(
        self, batch: Batch, work: Sequence[Work] = (), outcomes: Sequence[Outcome] = ()
    ) -> None:
        if self._is_one_to_one(batch, outcomes):
            self._finish_whole(batch, outcomes)
            return
        outputs = [as_output(outcome) for outcome in outcomes]
        if not self._downstream.empty:
            self._send_on(batch, work, outputs)
        if self._acknowledger is not None and batch.reliable:
            self._acknowledge(self._acknowledger.finish(batch, work, outputs))

    def _is_one_to_one(self, batch: Batch, outcomes: Sequence[Outcome]) -> bool:
        """Whether exactly one thing came of each message in the batch, in the same order."""
        return (
            not batch.fragments
            and not self.receiver.ordered
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
        if self._acknowledger is not None and batch.reliable:
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
                stones += tombstones_for([(sequence, fragment)], reason)
            items += output.items
            keys += output.keys
            size += output.size
        fields = describe(positions) | {"tombstones": merge(stones), "detached": (), "slabs": ()}
        onward = OutgoingBatch(msgspec.structs.replace(batch, **fields), items, size, keys or None)
        if items or stones:
            self._downstream.send(onward)

    def _acknowledge(self, ack: Ack | None) -> None:
        if ack is not None:
            self._upstream.acknowledge(ack)

    def begin_flush(self) -> None:
        """A flush begins that is for what was finished so far."""
        if self._acknowledger is not None:
            self._acknowledger.begin_flush()

    def flushed(
        self, refused: Mapping[Origin, Reason] | None = None, *, begun: bool = False
    ) -> list[Action]:
        """What was finished so far is safe now, but for what was refused, which has ended.

        `begun`: only what was finished before `begin_flush`.
        """
        self._history.note("flushed, {} refused", len(refused or ()))
        if self._acknowledger is not None:
            for ack in self._acknowledger.flushed(refused, begun=begun):
                self._upstream.acknowledge(ack)
        return self._outbox.take()

    # Start and Stop

    def _tell(self, batch: Batch, *, again: bool = True) -> None:
        """PROTOCOL 19: pass a Start or Stop on, unless that was done."""
        if not self._gate.tells(batch):
            return
        item = self._gate.item(batch)
        if item is not None:
            self._downstream.send(
                OutgoingBatch(msgspec.structs.replace(batch, detached=(), slabs=()), [item])
            )
        if self._acknowledger is not None and batch.reliable and batch.kind != Kind.CLOSING:
            self._acknowledge(self._acknowledger.finish_whole(batch, again=again))

    # From below

    def back(self, record: BackRecord, now: float) -> list[Action]:
        """Take a record from below."""
        self._history.now = now
        self._pass_on(self._downstream.record(record))
        return self._outbox.take()

    def disconnected(self, replica: ReplicaName, link: int) -> list[Action]:
        """The link to a replica below broke."""
        self._pass_on(self._downstream.disconnected(replica, link))
        return self._outbox.take()

    def _pass_on(self, sign: LossSign) -> None:
        """Only those above keep what was sent; further below, they hear of it themselves."""
        if sign is LossSign.NEAR:
            self._upstream.report_loss()
