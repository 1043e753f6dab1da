"""`Publication`: the sending side of pub-sub links. PURE.

PROTOCOL 33: every subscriber gets a copy, and none is waited for.

A batch's `number` counts the messages before it, so a subscriber that misses some knows how many.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arroyo.codec import End
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Broadcast, Emit
from arroyo.protocol.values.batches import OutgoingBatch

from .open_starts import OpenStarts


class Publication:
    """What one replica sends to all its subscribers."""

    def __init__(self, sender: ReplicaName, new_link: Callable[[], int], emit: Emit) -> None:
        self._sender = str(sender)
        self._link = new_link()
        self._emit = emit
        self._messages = 0
        self._starts = OpenStarts()

    def send(self, batch: OutgoingBatch) -> None:
        """Send a batch to all present subscribers."""
        self._starts.note(batch)
        self._broadcast(batch)

    def repeat_starts(self) -> None:
        """Send the Starts of open runs again, for a new subscriber; others ignore them."""
        for start in self._starts:
            self._broadcast(start)

    def end(self, *, final: bool) -> None:
        """Say that nothing more will come, for good or from this life only."""
        self._emit(Broadcast(End(self._sender, self._link, final)))

    def _broadcast(self, batch: OutgoingBatch) -> None:
        record = msgspec.structs.replace(
            batch.header,
            sender=self._sender,
            link=self._link,
            number=self._messages,
            reliable=False,
        )
        self._messages += max(1, len(batch.items))
        self._emit(Broadcast(record, batch.items))
