"""The sending side of pub-sub links: everyone gets a copy, nobody is waited for. PURE.

A batch's `number` counts the messages before it, so a subscriber that misses some knows how many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from arroyo.codec import End
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Action, Broadcast
from arroyo.protocol.values.batches import OutgoingBatch

from .open_starts import OpenStarts


class Publication:
    """What one replica sends to all its subscribers."""

    def __init__(self, sender: ReplicaName, new_link: Callable[[], int]) -> None:
        self._sender = str(sender)
        self._link = new_link()
        self._messages = 0
        self._starts = OpenStarts()

    def offer(self, load: OutgoingBatch) -> Iterator[Action]:
        """Send a load to whoever is subscribed now."""
        self._starts.note(load)
        yield self._broadcast(load)

    def repeat_starts(self) -> Iterator[Action]:
        """Somebody new subscribed: tell the open runs again (others know them and don't mind)."""
        for load in self._starts:
            yield self._broadcast(load)

    def end(self, *, final: bool) -> Iterator[Action]:
        """Say that nothing more will come, for good or from this life only."""
        yield Broadcast(End(self._sender, self._link, final))

    def _broadcast(self, load: OutgoingBatch) -> Action:
        record = msgspec.structs.replace(
            load.header,
            sender=self._sender,
            link=self._link,
            number=self._messages,
            reliable=False,
        )
        self._messages += max(1, len(load.items))
        return Broadcast(record, load.items)
