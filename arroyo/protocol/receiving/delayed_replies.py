"""`DelayedReplies`: credits and acknowledgements that wait a little, to leave in one record. PURE.

PROTOCOL 14: each of them wakes another process, and none is urgent: a sender may be well ahead, and
a source keeps what is not acknowledged. So they leave when a good part of what the sender may be
ahead is used up, or after a short time.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from arroyo.codec import Ack, Credit
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Reply
from arroyo.protocol.values.batches import merge
from arroyo.protocol.values.flow_limits import AHEAD_BYTES, messages_ahead
from arroyo.protocol.values.ranges import RangeSet

ACK_WAIT_S = 0.005
"""The longest that an acknowledgement waits: a Stop and a listener's input wait for it."""
CREDIT_WAIT_S = 0.05
"""The longest that a credit waits; it is not needed while the sender may be further ahead."""
PART = 4
"""Replies leave when one part in so many of what a sender may be ahead is used up."""
ACK_MESSAGES = 4096

_AckKey: TypeAlias = tuple[ReplicaName, str, int, int, int, int, int]


class DelayedReplies:
    """What one receiving replica still has to say to those above it."""

    def __init__(self) -> None:
        self._credits: dict[tuple[ReplicaName, int], Credit] = {}
        self._acks: dict[_AckKey, list[Ack]] = {}
        self._told: dict[tuple[ReplicaName, int], float] = {}
        """What the sender of each link knows of this stage's speed; 0, as it is after a Start:
        nothing."""
        self._messages = self._size = self._shared = self._in_flight = 0
        self._limit = 1
        self._due: float | None = None

    @property
    def deadline(self) -> float | None:
        """When they have to leave; None where there are none."""
        return self._due

    def put(self, to: ReplicaName, record: Credit | Ack, now: float) -> None:
        """Take a reply, to send it with others."""
        if isinstance(record, Credit):
            link = (to, record.link)
            self._credits[link] = record
            # A sender that does not know yet how quick this stage is gives it little.
            known_s = self._told.get(link, 0.0)
            wait_s = CREDIT_WAIT_S if known_s else 0.0
            slower_s = max(record.message_s, known_s)
            self._limit = max(1, messages_ahead(slower_s) // PART)
        else:
            # Taken and finished are different things to say.
            way = (record.source, record.epoch, record.path, record.paths)
            key = (to, *way, record.taken, record.replicas)
            self._acks.setdefault(key, []).append(record)
            wait_s = ACK_WAIT_S
        if self._due is None or now + wait_s < self._due:
            self._due = now + wait_s

    def note(self, messages: int, size: int, shared: int, in_flight: int) -> None:
        """Count what the replies are for: bytes that came, and bytes that lie in shared memory.

        Those take no room here, but they fill the window of their source, which a few large
        messages can do within the time that an acknowledgement may wait. `in_flight` is the number
        of messages that the source had not seen finished when it sent these: if it is small, so is
        the window, and the source soon waits for us.
        """
        self._messages += messages
        self._size += size
        self._shared += shared
        self._in_flight = in_flight

    def is_due(self, now: float) -> bool:
        """Whether they have to leave now."""
        return self._due is not None and bool(
            now >= self._due
            or self._messages >= min(self._limit, ACK_MESSAGES)
            or self._size >= AHEAD_BYTES // PART
            or self._shared >= AHEAD_BYTES
            or (self._shared > 0 and self._acks and self._messages * PART >= self._in_flight)
        )

    def take(self) -> list[Reply]:
        """Return all there are, as few records as possible."""
        credits = [Reply(to, credit) for (to, _), credit in self._credits.items()]
        acks = [Reply(key[0], _join(held)) for key, held in self._acks.items()]
        # A sender that has made a new link credits nothing by the old one any more.
        others = {to for to, _ in self._credits}
        self._told = {link: known for link, known in self._told.items() if link[0] not in others}
        self._told |= {link: credit.message_s for link, credit in self._credits.items()}
        self._credits.clear()
        self._acks.clear()
        self._messages = self._size = self._shared = 0
        self._due = None
        return [*acks, *credits]


def _join(acks: list[Ack]) -> Ack:
    """Say in one record what several of one path say."""
    if len(acks) == 1:
        return acks[0]
    ranges = RangeSet(span for ack in acks for span in ack.ranges)
    return msgspec.structs.replace(
        acks[0],
        ranges=tuple(ranges),
        tombstones=merge([stone for ack in acks for stone in ack.tombstones]),
        fragments=tuple(part for ack in acks for part in ack.fragments),
    )
