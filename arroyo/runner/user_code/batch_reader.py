"""`BatchReader`: decodes batches; a message that can't be decoded is quarantined alone.

Rules:
- One bad message takes no other along: it becomes a tombstone, its neighbours are worked on.
- A Start or Stop that can't be read is replaced by an empty one: the run goes on, and ends.
- Only where the body is no list of messages, nothing can be told apart, and all of it is buried
  (PROTOCOL 13).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

import msgspec

from arroyo.codec import Batch, Buffer, Kind, MessageCodec, Reason, Unreadable
from arroyo.errors import DecodeError
from arroyo.messages import Message, Start, Stop
from arroyo.protocol.values.batches import Position, count_of, end_all, end_at, positions_of
from arroyo.runner.quarantine.writer import QuarantineWriter


class BatchReader:
    """Reads what comes to one replica."""

    def __init__(self, codec: MessageCodec, quarantine: QuarantineWriter) -> None:
        self._codec = codec
        self._quarantine = quarantine
        self._messages: Sequence[Message | None] = []
        self._payloads: list[Any] = []
        self._read_again: Callable[[], Sequence[Message]] = list
        self._anew: dict[int, Message] = {}
        """The same messages as they came, by the ids of these, once one of them was asked for."""
        self.unreadable = 0
        """Messages, and batches as a whole, that could not be read."""

    def read(
        self, batch: Batch, body: Buffer, places: Sequence[int], payloads: Sequence[Any]
    ) -> tuple[Batch, list[Message]]:
        """Return the messages, and the header without those that can't be read.

        DecodeError: no message can be told from the next one; see `give_up`.
        StageBrokenError: it is one of too many in a row that can't be read.
        UnavailableError: there is no room for it in the quarantine.
        """
        codec, payloads = self._codec, list(payloads)
        self._payloads, self._anew = payloads, {}
        try:
            messages = self._messages = codec.decode(body, places, payloads)
        except DecodeError:
            found = codec.decode_each(body, places, payloads)
            if len(found) != count_of(batch):
                raise
            batch, messages = self._sort_out(batch, found)
            self._messages = _readable(found)
            self._read_again = lambda: _readable(codec.decode_each(body, places, payloads))
        else:
            if self.unreadable:
                self._quarantine.note_readable()
            self._read_again = lambda: codec.decode(body, places, payloads)
        return batch, messages

    def _sort_out(
        self, batch: Batch, found: Sequence[Message | Unreadable]
    ) -> tuple[Batch, list[Message]]:
        bad = set()
        positions = positions_of(batch)
        for place, each in enumerate(found):
            if isinstance(each, Unreadable):
                self._keep(batch, positions[place], each)
                bad.add(place)
            else:
                self._quarantine.note_readable()
        if batch.kind != Kind.EVENTS and isinstance(found[0], Unreadable):
            return batch, [_stand_in(batch, found[0].data)]
        return end_at(batch, bad, Reason.QUARANTINED), _readable(found)

    def _keep(self, batch: Batch, position: Position, found: Unreadable) -> None:
        self.unreadable += 1
        if batch.kind != Kind.CLOSING:  # the Stop itself comes later
            self._quarantine.put_unreadable(batch, position, found)

    def give_up(
        self, batch: Batch, frames: Sequence[Buffer], error: Exception
    ) -> tuple[Batch, list[Message]]:
        """Quarantine a batch as a whole; returns as `read` does, and raises the same."""
        self.unreadable += 1
        if batch.kind != Kind.CLOSING:
            self._quarantine.put_frames(batch, frames, error)
        self.put_down_all()
        if batch.kind != Kind.EVENTS:
            return msgspec.structs.replace(batch, detached=(), slabs=()), [_stand_in(batch, {})]
        return end_all(batch, Reason.QUARANTINED), []

    def as_it_came(self, message: Message) -> Message:
        """Return a message of the batch in hand as it came: the stage's code may have changed it.

        What is returned must not be changed; see `restore`.
        """
        if not self._anew:
            self._anew = dict(zip(map(id, self._messages), self._read_again(), strict=True))
        return self._anew.get(id(message), message)

    def restore(self) -> None:
        """Make all messages of the batch in hand again what they were when they came."""
        for message, anew in zip(self._messages, self._read_again(), strict=True):
            if message is not None:
                for field in message.__struct_fields__:
                    msgspec.structs.force_setattr(message, field, getattr(anew, field))

    def put_down(self, messages: set[int], payloads: Container[int]) -> None:
        """Let go of messages that are done, and of their payloads, all by their ids."""
        self._messages = [None if id(each) in messages else each for each in self._messages]
        for done in messages:
            self._anew.pop(done, None)
        self._payloads[:] = [b"" if id(each) in payloads else each for each in self._payloads]

    def put_down_all(self) -> None:
        """Let go of the batch: its payloads are not needed any more."""
        self._messages, self._payloads, self._read_again, self._anew = [], [], list, {}


def _readable(found: Sequence[Message | Unreadable]) -> list[Message]:
    return [each for each in found if not isinstance(each, Unreadable)]


def _stand_in(batch: Batch, data: dict[str, Any]) -> Message:
    return Start(data) if batch.kind == Kind.START else Stop(data)
