"""The sending side: which replica below gets what, and when it has to wait. PURE.

An `Dispatcher` serves all replicas of one stage below. Rules:
- Nothing goes to a replica before its Hello, and the open Starts go first.
- A replica has a bound of messages and bytes that were sent and not credited; what is over it
  waits here, and the stage takes no inputs while anything waits (`blocked`). Payloads that stay
  in shared memory take no room at the receiver, and don't count.
- Loads leave in the order they came in. Start and Stop go to every replica, past the bound.
- A replica that died gets a new link with a new number; what was on the old one is the source's
  to send again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
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
from arroyo.protocol.values.actions import Action, Connect, Transmit
from arroyo.protocol.values.batches import OutgoingBatch, cut, sequences_of, take
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
    """When it was given something last, counted in batches of the outlet."""

    def __post_init__(self) -> None:
        self.batch, self.ahead = FIRST_BATCH_MESSAGES, 2 * FIRST_BATCH_MESSAGES

    def note_speed(self, message_s: float) -> None:
        """It takes so long over one message."""
        self.batch = max(1, min(BATCH_MESSAGES, int(BATCH_S / max(message_s, 1e-9))))
        self.ahead = messages_ahead(message_s)

    def room(self, item_size: int) -> int:
        """How many messages of a size it may be given now; one always, when it has none."""
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
    ) -> None:
        self.stage = stage
        self.edge = edge
        self.dispatch = dispatch
        self._sender = sender
        self._sender_text = str(sender)
        self._new_link = new_link
        self._queue: deque[OutgoingBatch] = deque()
        self._starts = OpenStarts()
        self._replicas = [
            _Replica(ReplicaName(stage, number), new_link()) for number in range(replicas)
        ]
        self._batches = 0
        self._ending: bool | None = None
        """None: not ending; else whether for good."""

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
            gap for load in self._queue if load.header.epoch == epoch for gap in load.header.ranges
        )

    def connect(self, incarnation: int) -> Iterator[Action]:
        """Make all links."""
        self._incarnation = incarnation
        for replica in self._replicas:
            yield from self._link(replica)

    def offer(self, load: OutgoingBatch) -> Iterator[Action]:
        """Take a load; it leaves at once where it can."""
        header, size = load.header, load.size - shared_size_of(load.items)
        if self.edge:
            header = msgspec.structs.replace(header, path=header.path + self.edge)
        if self.edge or size != load.size:
            load = OutgoingBatch(header, load.items, size, load.keys, load.trim)
        self._queue.extend(cut(load, BATCH_MESSAGES))
        yield from self._pump()

    def end(self, *, final: bool) -> Iterator[Action]:
        """Send End after all that waits: for good, or from this life of the sender only."""
        if self._ending is None:
            self._ending = final
        yield from self._pump()

    @property
    def ended(self) -> bool:
        """Whether End has gone to all replicas that are there."""
        return self._ending is not None and not self._queue

    def hello(self, hello: Hello) -> tuple[list[Action], bool]:
        """Replica `hello` is there. Returns actions, and whether it misses anything."""
        replica = self._find(hello.replica)
        if replica is None or hello.version != PROTOCOL_VERSION:
            return [], False
        if (replica.up or replica.leaving) and replica.incarnation == hello.incarnation:
            return [], False
        if hello.sticky and self.dispatch == "balanced":
            self.dispatch = "sequence"
        actions: list[Action] = []
        lost = replica.missed
        replica.missed = False
        if replica.incarnation not in (0, hello.incarnation):
            lost = True
            actions += self._relink(replica)
        replica.incarnation = hello.incarnation
        replica.up, replica.leaving = True, False
        for start in self._starts:
            actions.append(self._transmit(replica, start))
        actions += self._pump()
        return actions, lost

    def disconnected(self, number: int, link: int) -> tuple[list[Action], bool]:
        """A link broke. Returns actions, and whether anything can have been lost with it."""
        replica = self._find(number)
        if replica is None or link != replica.link:
            return [], False
        lost = replica.up or bool(replica.sent)
        actions = [*self._relink(replica)]
        return actions, lost

    def bye(self, bye: Bye) -> Iterator[Action]:
        """A replica wants no more; it gets End, and then works off what it has."""
        replica = self._find(bye.replica)
        if replica is not None and replica.up and replica.incarnation == bye.incarnation:
            replica.up, replica.leaving = False, True
            yield from self._send_end(replica, final=False)

    def credit(self, credit: Credit) -> Iterator[Action]:
        """A replica is through with batches."""
        replica = self._find(credit.replica)
        if replica is None or credit.link != replica.link:
            return
        while replica.sent and replica.sent[0][0] < credit.number:
            _, messages, size = replica.sent.popleft()
            replica.messages -= messages
            replica.size -= size
        replica.note_speed(credit.message_s)
        yield from self._pump()

    # A replica's links

    def _find(self, number: int) -> _Replica | None:
        """Return a replica; None for a number that only a confused peer can have."""
        return self._replicas[number] if number < len(self._replicas) else None

    def _link(self, replica: _Replica) -> Iterator[Action]:
        record = Open(
            PROTOCOL_VERSION, *self._sender, incarnation=self._incarnation, link=replica.link
        )
        yield Connect(replica.name, replica.link)
        yield Transmit(replica.name, record)

    def _relink(self, replica: _Replica) -> Iterator[Action]:
        replica.link = self._new_link()
        replica.up = replica.leaving = replica.ended = False
        replica.incarnation = replica.number = replica.messages = replica.size = 0
        replica.sent.clear()
        yield from self._link(replica)

    def _send_end(self, replica: _Replica, *, final: bool) -> Iterator[Action]:
        if not replica.ended:
            replica.ended = True
            yield Transmit(replica.name, End(str(self._sender), replica.link, final))

    # Sending

    def _pump(self) -> Iterator[Action]:
        while self._queue:
            load = self._queue[0]
            if load.header.kind != Kind.EVENTS:
                self._queue.popleft()
                yield from self._tell_all(load)
                continue
            if load.trim is not None:
                load = self._queue[0] = load.trim(load)
                if not load.items and not load.header.tombstones:
                    self._queue.popleft()
                    continue
            replica, count = self._choose(load)
            if replica is None:
                return
            head, rest = take(load, count)
            if rest is None:
                self._queue.popleft()
            else:
                self._queue[0] = rest
            yield self._transmit(replica, head)
        if self._ending is not None:
            for replica in self._replicas:
                if replica.up:
                    yield from self._send_end(replica, final=self._ending)

    def _tell_all(self, load: OutgoingBatch) -> Iterator[Action]:
        self._starts.note(load)
        for replica in self._replicas:
            if replica.up:
                yield self._transmit(replica, load)
            elif load.header.kind != Kind.START:
                replica.missed = True

    def _choose(self, load: OutgoingBatch) -> tuple[_Replica | None, int]:
        """Say who gets the head of the load, and how many messages of it."""
        messages = len(load.items)
        item_size = load.size // messages if messages else 0
        if len(self._replicas) == 1:
            [replica], count = self._replicas, messages
        elif self.dispatch == "balanced":
            open_ones = [each for each in self._replicas if each.room(item_size)]
            if not open_ones:
                return None, 0
            replica, count = min(open_ones, key=lambda each: (each.messages, each.used)), messages
        else:
            index, count = self._assigned(load)
            replica = self._replicas[index]
        room = replica.room(item_size)
        return (replica, min(room, count)) if room else (None, 0)

    def _assigned(self, load: OutgoingBatch) -> tuple[int, int]:
        """Whose the first message is, and how many after it are the same replica's."""
        if not load.items:
            marks = [load.header.tombstones[0].first // SEQUENCE_BLOCK]
        elif self.dispatch == "key" and load.keys is not None:
            marks = list(load.keys)
        else:
            marks = [number // SEQUENCE_BLOCK for number in sequences_of(load.header)]
        owners = [mark % len(self._replicas) for mark in marks]
        count = next((at for at, owner in enumerate(owners) if owner != owners[0]), len(owners))
        return owners[0], count

    def _transmit(self, replica: _Replica, load: OutgoingBatch) -> Action:
        record: Batch = msgspec.structs.replace(
            load.header, sender=self._sender_text, link=replica.link, number=replica.number
        )
        replica.sent.append((replica.number, len(load.items), load.size))
        replica.number += 1
        replica.messages += len(load.items)
        replica.size += load.size
        self._batches += 1
        replica.used = self._batches
        return Transmit(replica.name, record, load.items)
