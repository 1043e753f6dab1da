"""`ReplicaLink`: the link to one replica below, and how much is in flight on it. PURE."""

from __future__ import annotations

from collections import deque

import msgspec

from arroyo.codec import Batch
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.flow_limits import (
    AHEAD_BYTES,
    FIRST_BATCH_MESSAGES,
    messages_ahead,
    messages_at_once,
)


class ReplicaLink(msgspec.Struct):
    """The link to one replica; after a break it goes on under a new number."""

    name: ReplicaName
    link: int
    incarnation: int = 0
    """Life of the replica, as its Hello says; 0: none has been heard on this link."""
    up: bool = False
    leaving: bool = False
    ended: bool = False
    """Whether the replica takes batches, wants no more, and has been sent End."""
    number: int = 0
    """How many batches were sent on it."""
    messages: int = 0
    size: int = 0
    """Messages and bytes that were sent and not credited."""
    missed: bool = False
    """Whether a Stop, or its announcement, went by while the replica was not there."""
    used: int = 0
    """When it was given something last, counted in batches of the dispatcher."""
    _batch: int = 0
    _ahead: int = 0
    _sent: deque[tuple[int, int, int]] = msgspec.field(default_factory=deque)
    """Number, messages and bytes of each batch without credit."""

    def __post_init__(self) -> None:
        self._forget_speed()

    def _forget_speed(self) -> None:
        self._batch, self._ahead = FIRST_BATCH_MESSAGES, 2 * FIRST_BATCH_MESSAGES

    @property
    def in_flight(self) -> bool:
        """Whether any batch has no credit yet."""
        return bool(self._sent)

    def begin(self, link: int) -> None:
        """Start over under another number; no replica is known on it yet."""
        self.link = link
        self.up = self.leaving = self.ended = False
        self.incarnation = self.number = self.messages = self.size = 0
        self._sent.clear()
        self._forget_speed()

    def room(self, item_size: int) -> int:
        """Return how many messages of a size may be sent now; at least one when none is in flight.

        PROTOCOL 9: what is over the bound waits at the sender.
        """
        least = 0 if self._sent else 1
        if not self.up:
            return 0
        if self.messages >= self._ahead:
            return least
        # Up to one batch more than may be ahead, since splitting many small messages is expensive.
        by_size = (AHEAD_BYTES - self.size) // item_size if item_size else self._ahead
        return max(least, min(self._batch, by_size))

    def put(self, sender: str, batch: OutgoingBatch, messages: int) -> Batch:
        """Count a batch of so many messages as sent; return its header as it travels here."""
        header: Batch = msgspec.structs.replace(
            batch.header, sender=sender, link=self.link, number=self.number
        )
        self._sent.append((self.number, messages, batch.size))
        self.number += 1
        self.messages += messages
        self.size += batch.size
        return header

    def credit(self, number: int, message_s: float) -> None:
        """The replica is done with the batches below `number`, and takes so long for a message.

        `message_s`: 0 where it does not know yet, as after a Start.
        """
        while self._sent and self._sent[0][0] < number:
            _, messages, size = self._sent.popleft()
            self.messages -= messages
            self.size -= size
        if message_s:
            self._batch, self._ahead = messages_at_once(message_s), messages_ahead(message_s)
