"""`Dispatcher`: which replica of one stage below gets which batch, and when. PURE.

Rules:
- PROTOCOL 3: nothing goes to a replica before its Hello, and the open Starts go first.
- PROTOCOL 8, 9: a replica has a bound of messages and bytes that were sent and not credited. What
  exceeds it waits here, and the stage takes no input while anything waits (`blocked`). Payloads in
  shared memory take no room at the receiver, and don't count.
- PROTOCOL 10: batches leave in the order they came in; Start and Stop go to every replica, past the
  bound.
- PROTOCOL 20: a replica that died gets a new link with a new number. The source sends again what
  was on the old one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from arroyo.codec import PROTOCOL_VERSION, Bye, Credit, End, Hello, Kind, Open, shared_size_of
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Connect, Emit, Transmit
from arroyo.protocol.values.batches import OutgoingBatch, cut, sequences_of, split
from arroyo.protocol.values.flow_limits import BATCH_MESSAGES
from arroyo.protocol.values.history import History
from arroyo.protocol.values.ranges import RangeSet

from .open_starts import OpenStarts
from .replica_link import ReplicaLink

Dispatch = Literal["balanced", "key", "sequence"]

SEQUENCE_BLOCK = 64
"""Dispatch by sequence gives this many neighbouring messages to one replica."""


class Dispatcher:
    """The links from one sending replica to all replicas of one stage below.

    `edge`: what this edge adds to a path.
    `dispatch`: how messages are shared out; a stage below that folds has its say in this.
    `new_link`: gives a number that no link had before, over restarts as well.
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
            ReplicaLink(ReplicaName(stage, number), new_link()) for number in range(replicas)
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
        if len(batch.items) <= BATCH_MESSAGES:  # nearly all
            self._queue.append(batch)
        else:
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
        """Take a replica up; returns whether it may miss anything.

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
            self._transmit(replica, start, len(start.items))
        self._pump()
        return lost

    def disconnected(self, number: int, link: int) -> bool:
        """Replace a broken link; returns whether anything may be lost with it."""
        replica = self._find(number)
        if replica is None or link != replica.link:
            return False
        lost = replica.up or replica.in_flight
        self._history.note(
            "link {} to {} broke, {} messages without credit", link, replica.name, replica.messages
        )
        self._relink(replica)
        return lost

    def bye(self, bye: Bye) -> None:
        """A replica wants no more: it gets End, and then works off what it has. PROTOCOL 30."""
        replica = self._find(bye.replica)
        if replica is not None and replica.up and replica.incarnation == bye.incarnation:
            replica.up, replica.leaving = False, True
            self._history.note("{} leaves", replica.name)
            self._send_end(replica, final=False)

    def credit(self, credit: Credit) -> None:
        """A replica is done with batches."""
        replica = self._find(credit.replica)
        if replica is None or credit.link != replica.link:
            return
        replica.credit(credit.number, credit.message_s)
        self._pump()

    # A replica's links

    def _find(self, number: int) -> ReplicaLink | None:
        """Return a replica, or None for a number that only a confused peer can send."""
        return self._replicas[number] if number < len(self._replicas) else None

    def _link(self, replica: ReplicaLink) -> None:
        record = Open(
            PROTOCOL_VERSION, *self._sender, incarnation=self._incarnation, link=replica.link
        )
        self._history.note("made link {} to {}", replica.link, replica.name)
        self._emit(Connect(replica.name, replica.link))
        self._emit(Transmit(replica.name, record))

    def _relink(self, replica: ReplicaLink) -> None:
        replica.begin(self._new_link())
        self._link(replica)

    def _send_end(self, replica: ReplicaLink, *, final: bool) -> None:
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
            replica, count = self._choose(batch, messages := len(batch.items))
            if replica is None:
                break
            if count >= messages:
                self._queue.popleft()
            else:
                batch, self._queue[0] = split(batch, count)
            self._transmit(replica, batch, count)
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
                self._transmit(replica, control, len(control.items))
            elif control.header.kind != Kind.START:
                replica.missed = True

    def _choose(self, batch: OutgoingBatch, messages: int) -> tuple[ReplicaLink | None, int]:
        """Return which replica gets the first of a batch's messages, and how many. PROTOCOL 10."""
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
        """Return which replica owns the first message, and how many from there on are its own."""
        if not batch.items:
            marks = [batch.header.tombstones[0].first // SEQUENCE_BLOCK]
        elif self.dispatch == "key" and batch.keys is not None:
            marks = list(batch.keys)
        else:
            marks = [number // SEQUENCE_BLOCK for number in sequences_of(batch.header)]
        owners = [mark % len(self._replicas) for mark in marks]
        count = next((at for at, owner in enumerate(owners) if owner != owners[0]), len(owners))
        return owners[0], count

    def _transmit(self, replica: ReplicaLink, batch: OutgoingBatch, count: int) -> None:
        record = replica.put(self._sender_text, batch, count)
        self._batches += 1
        replica.used = self._batches
        self._history.note("sent batch {} to {}: {} messages", record.number, replica.name, count)
        self._emit(Transmit(replica.name, record, batch.items))
