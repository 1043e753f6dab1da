"""The sending side: which replica below gets what, and when it has to wait. PURE.

A `Dispatcher` serves all replicas of one stage below. Rules:
- Nothing goes to a replica before its Hello, and the open Starts go first.
- A replica has a bound of messages and bytes that were sent and not credited; what is over it
  waits here, and the stage takes no inputs while anything waits (`blocked`). Payloads that stay
  in shared memory take no room at the receiver, and don't count.
- Batches leave in the order they came in. Start and Stop go to every replica, past the bound.
- A replica that died gets a new link with a new number; what was on the old one is the source's
  to send again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from arroyo.codec import (
    PROTOCOL_VERSION,
    Batch,
    Bye,
    Credit,
    End,
    Hello,
    Kind,
    Open,
    shared_size_of,
)
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Connect, Transmit
from arroyo.protocol.values.batches import OutgoingBatch, cut, sequences_of, take
from arroyo.protocol.values.history import History
from arroyo.protocol.values.outbox import Emit
from arroyo.protocol.values.ranges import RangeSet

from .open_starts import OpenStarts

Dispatch = Literal["balanced", "key", "sequence"]

BATCH_MESSAGES = 1024
BATCH_S = 0.01
"""A batch holds what the receiver does in about this time, but 1 to BATCH_MESSAGES messages."""
AHEAD_MESSAGES = 8192
AHEAD_S = 0.05
"""A replica is given work ahead for about this time, but 2 to AHEAD_MESSAGES messages."""
AHEAD_BYTES = 64 * 1024 * 1024
FIRST_BATCH_MESSAGES = 32
"""Batch for a receiver that has not told its speed yet."""
SEQUENCE_BLOCK = 64
"""Dispatch by sequence gives this many neighbouring messages to one replica."""


class _Replica(msgspec.Struct):
    name: ReplicaName
    link: int
    incarnation: int = 0
    up: bool = False
    leaving: bool = False
    ended: bool = False
    number: int = 0
    """Batches sent on this link."""
    batch: int = 0
    ahead: int = 0
    """How many messages it gets at once, and how many without credit; follow its speed."""
    messages: int = 0
    size: int = 0
    sent: deque[tuple[int, int, int]] = msgspec.field(default_factory=deque)
    """Number, messages and bytes of each batch without credit."""
    missed: bool = False
    """Whether a Stop, or its announcement, went by while it was not there."""
    used: int = 0
    """When it was given something last, counted in batches of the dispatcher."""

    def __post_init__(self) -> None:
        self.batch, self.ahead = FIRST_BATCH_MESSAGES, 2 * FIRST_BATCH_MESSAGES

    def note_speed(self, message_s: float) -> None:
        """It takes so long over one message. PROTOCOL 8."""
        self.batch = max(1, min(BATCH_MESSAGES, int(BATCH_S / max(message_s, 1e-9))))
        self.ahead = messages_ahead(message_s)

    def room(self, item_size: int) -> int:
        """How many messages of a size it may be given now; one always, when it has none.

        PROTOCOL 9.
        """
        least = 0 if self.sent else 1
        if not self.up:
            return 0
        if self.messages >= self.ahead:
            return least
        # Up to one batch more than `ahead`, since many small messages are dear to split.
        by_size = (AHEAD_BYTES - self.size) // item_size if item_size else self.ahead
        return max(least, min(self.batch, by_size))


def messages_ahead(message_s: float) -> int:
    """How many messages a receiver that takes so long over one may be given ahead."""
    return max(2, min(AHEAD_MESSAGES, int(AHEAD_S / max(message_s, 1e-9))))


class Dispatcher:
    """The links from one sending replica to all replicas of one stage below.

    Parameters
    ----------
    sender
        The replica that sends.
    stage, replicas
        The stage below.
    edge
        What this edge adds to a path.
    dispatch
        How messages are shared out; a stage below that folds has its say in this.
    new_link
        Gives a number that no link had before, over restarts as well.
    emit
        Where it says what is to be done.
    """

    def __init__(
        self,
        sender: ReplicaName,
        stage: str,
        replicas: int,
        *,
        edge: int,
        dispatch: Dispatch,
        new_link: Callable[[], int],
        emit: Emit,
        history: History,
    ) -> None:
        self.stage = stage
        self.edge = edge
        self.dispatch = dispatch
        self._sender = sender
        self._sender_text = str(sender)
        self._new_link = new_link
        self._emit = emit
        self._history = history
        self._queue: deque[OutgoingBatch] = deque()
        self._starts = OpenStarts()
        self._replicas = [
            _Replica(ReplicaName(stage, number), new_link()) for number in range(replicas)
        ]
        self._batches = 0
        self._ending: bool | None = None
        """None: not ending; else whether for good."""
        self._told_wait = False
        """Whether the history says that something waits here."""

    @property
    def blocked(self) -> bool:
        """Whether something waits for credit or for a replica to come up."""
        return bool(self._queue)

    @property
    def in_flight(self) -> int:
        """Messages sent and not credited."""
        return sum(replica.messages for replica in self._replicas)

    def waiting(self, epoch: int) -> RangeSet:
        """Sequences of an epoch that have not left yet."""
        return RangeSet(
            gap
            for batch in self._queue
            if batch.header.epoch == epoch
            for gap in batch.header.ranges
        )

    def connect(self, incarnation: int) -> None:
        """Make all links."""
        self._incarnation = incarnation
        for replica in self._replicas:
            self._link(replica)

    def send(self, batch: OutgoingBatch) -> None:
        """Take a batch; it leaves at once where it can."""
        header, size = batch.header, batch.size - shared_size_of(batch.items)
        if self.edge:
            header = msgspec.structs.replace(header, path=header.path + self.edge)
        if self.edge or size != batch.size:
            batch = OutgoingBatch(header, batch.items, size, batch.keys, batch.trim)
        self._queue.extend(cut(batch, BATCH_MESSAGES))
        self._pump()

    def end(self, *, final: bool) -> None:
        """Send End after all that waits: for good, or from this life of the sender only."""
        if self._ending is None:
            self._ending = final
        self._pump()

    @property
    def ended(self) -> bool:
        """Whether End has gone to all replicas that are there."""
        return self._ending is not None and not self._queue

    def hello(self, hello: Hello) -> bool:
        """A replica is there. Returns whether it may miss anything.

        PROTOCOL 3: it gets the open Starts first. PROTOCOL 20: a new life gets a new link.
        """
        replica = self._find(hello.replica)
        if replica is None or hello.version != PROTOCOL_VERSION:
            return False
        if (replica.up or replica.leaving) and replica.incarnation == hello.incarnation:
            return False
        if hello.sticky and self.dispatch == "balanced":
            self.dispatch = "sequence"
        lost = replica.missed
        replica.missed = False
        if replica.incarnation not in (0, hello.incarnation):
            lost = True
            self._relink(replica)
        replica.incarnation = hello.incarnation
        replica.up, replica.leaving = True, False
        self._history.note("{} takes batches, incarnation {}", replica.name, hello.incarnation)
        for start in self._starts:
            self._transmit(replica, start)
        self._pump()
        return lost

    def disconnected(self, number: int, link: int) -> bool:
        """A link broke. Returns whether anything can have been lost with it."""
        replica = self._find(number)
        if replica is None or link != replica.link:
            return False
        lost = replica.up or bool(replica.sent)
        self._history.note(
            "link {} to {} broke, {} messages without credit", link, replica.name, replica.messages
        )
        self._relink(replica)
        return lost

    def bye(self, bye: Bye) -> None:
        """A replica wants no more; it gets End, and then works off what it has."""
        replica = self._find(bye.replica)
        if replica is not None and replica.up and replica.incarnation == bye.incarnation:
            replica.up, replica.leaving = False, True
            self._history.note("{} leaves", replica.name)
            self._send_end(replica, final=False)

    def credit(self, credit: Credit) -> None:
        """A replica is through with batches."""
        replica = self._find(credit.replica)
        if replica is None or credit.link != replica.link:
            return
        while replica.sent and replica.sent[0][0] < credit.number:
            _, messages, size = replica.sent.popleft()
            replica.messages -= messages
            replica.size -= size
        replica.note_speed(credit.message_s)
        self._pump()

    # A replica's links

    def _find(self, number: int) -> _Replica | None:
        """Return a replica; None for a number that only a confused peer can have."""
        return self._replicas[number] if number < len(self._replicas) else None

    def _link(self, replica: _Replica) -> None:
        record = Open(
            PROTOCOL_VERSION, *self._sender, incarnation=self._incarnation, link=replica.link
        )
        self._history.note("made link {} to {}", replica.link, replica.name)
        self._emit(Connect(replica.name, replica.link))
        self._emit(Transmit(replica.name, record))

    def _relink(self, replica: _Replica) -> None:
        replica.link = self._new_link()
        replica.up = replica.leaving = replica.ended = False
        replica.incarnation = replica.number = replica.messages = replica.size = 0
        replica.sent.clear()
        self._link(replica)

    def _send_end(self, replica: _Replica, *, final: bool) -> None:
        if not replica.ended:
            replica.ended = True
            self._history.note("sent End to {}, for good: {}", replica.name, final)
            self._emit(Transmit(replica.name, End(str(self._sender), replica.link, final)))

    # Sending

    def _pump(self) -> None:
        while self._queue:
            batch = self._queue[0]
            if batch.header.kind != Kind.EVENTS:
                self._queue.popleft()
                self._tell_all(batch)
                continue
            if batch.trim is not None:
                batch = self._queue[0] = batch.trim(batch)
                if not batch.items and not batch.header.tombstones:
                    self._queue.popleft()
                    continue
            replica, count = self._choose(batch)
            if replica is None:
                break
            head, rest = take(batch, count)
            if rest is None:
                self._queue.popleft()
            else:
                self._queue[0] = rest
            self._transmit(replica, head)
        self._note_wait()
        if self._ending is not None and not self._queue:
            for replica in self._replicas:
                if replica.up:
                    self._send_end(replica, final=self._ending)

    def _note_wait(self) -> None:
        if self._queue and not self._told_wait:
            waiting = len(self._queue)
            self._history.note("no replica of {} has room, {} batches wait", self.stage, waiting)
        elif self._told_wait and not self._queue:
            self._history.note("nothing waits for {} any more", self.stage)
        self._told_wait = bool(self._queue)

    def _tell_all(self, control: OutgoingBatch) -> None:
        self._starts.note(control)
        for replica in self._replicas:
            if replica.up:
                self._transmit(replica, control)
            elif control.header.kind != Kind.START:
                replica.missed = True

    def _choose(self, batch: OutgoingBatch) -> tuple[_Replica | None, int]:
        """Say who gets the head of the batch, and how many messages of it. PROTOCOL 10."""
        messages = len(batch.items)
        item_size = batch.size // messages if messages else 0
        if len(self._replicas) == 1:
            [replica], count = self._replicas, messages
        elif self.dispatch == "balanced":
            open_ones = [each for each in self._replicas if each.room(item_size)]
            if not open_ones:
                return None, 0
            replica, count = min(open_ones, key=lambda each: (each.messages, each.used)), messages
        else:
            index, count = self._assigned(batch)
            replica = self._replicas[index]
        room = replica.room(item_size)
        return (replica, min(room, count)) if room else (None, 0)

    def _assigned(self, batch: OutgoingBatch) -> tuple[int, int]:
        """Whose the first message is, and how many after it are the same replica's."""
        if not batch.items:
            marks = [batch.header.tombstones[0].first // SEQUENCE_BLOCK]
        elif self.dispatch == "key" and batch.keys is not None:
            marks = list(batch.keys)
        else:
            marks = [number // SEQUENCE_BLOCK for number in sequences_of(batch.header)]
        owners = [mark % len(self._replicas) for mark in marks]
        count = next((at for at, owner in enumerate(owners) if owner != owners[0]), len(owners))
        return owners[0], count

    def _transmit(self, replica: _Replica, batch: OutgoingBatch) -> None:
        record: Batch = msgspec.structs.replace(
            batch.header, sender=self._sender_text, link=replica.link, number=replica.number
        )
        replica.sent.append((replica.number, len(batch.items), batch.size))
        replica.number += 1
        replica.messages += len(batch.items)
        replica.size += batch.size
        self._batches += 1
        replica.used = self._batches
        count = len(batch.items)
        self._history.note("sent batch {} to {}: {} messages", record.number, replica.name, count)
        self._emit(Transmit(replica.name, record, batch.items))
