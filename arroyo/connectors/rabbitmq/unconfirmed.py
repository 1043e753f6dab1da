"""`UnconfirmedMessages`: messages to a RabbitMQ server that it has not confirmed yet. PURE.

The server numbers the messages of a channel from 1, and confirms by these numbers. The numbers of a
lost channel mean nothing: what was not confirmed by then waits to be sent again, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from arroyo.errors import StageError
from arroyo.messages import Message


class OutgoingMessage:
    """A message as it is sent, and the message itself in case the server returns it."""

    __slots__ = ("body", "flush", "message", "name", "properties", "returned")

    def __init__(self, message: Message, name: str, properties: bytes, body: bytes) -> None:
        self.message = message
        self.name = name
        """Its ``message_id``."""
        self.properties = properties
        self.body = body
        self.flush = 0
        """Number of the flush that waits for it."""
        self.returned = ""
        """Why the server has returned it; empty if it has not."""


class UnconfirmedMessages:
    """The unconfirmed messages, limited in number and size.

    `messages`, `size`: maximum number, and size in bytes; a single message may be larger.
    """

    def __init__(self, messages: int, size: int) -> None:
        self._most_messages = messages
        self._most_bytes = size
        self._size = 0
        self._waiting: deque[OutgoingMessage] = deque()
        self._sent: dict[int, OutgoingMessage] = {}
        self._next = 1
        self._flush = 0
        """Number of the next flush."""
        self._left = {0: 0}
        """Number of messages that each flush waits for."""
        self._refused: list[OutgoingMessage] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    def has_room(self, size: int) -> bool:
        """Return True if a message of so many bytes may be added."""
        if not len(self):
            return True
        return len(self) < self._most_messages and self._size + size <= self._most_bytes

    def is_roomy(self) -> bool:
        """Return True if a publisher that waited for room may go on."""
        return len(self) <= self._most_messages // 2 and self._size <= self._most_bytes // 2

    def begin_flush(self) -> int:
        """Begin a flush of all messages so far; return its number."""
        number = self._flush
        self._flush += 1
        self._left[self._flush] = 0
        return number

    def is_flushed(self, number: int) -> bool:
        """Return True if all messages of this flush and of those before are confirmed."""
        return not any(left for flush, left in self._left.items() if flush <= number)

    def take_refused(self, number: int) -> list[tuple[Message, StageError]]:
        """Remove and return what the server has returned of this flush and those before."""
        found = [outgoing for outgoing in self._refused if outgoing.flush <= number]
        self._refused = [outgoing for outgoing in self._refused if outgoing.flush > number]
        self._left = {flush: left for flush, left in self._left.items() if flush > number}
        return [(outgoing.message, StageError(outgoing.returned)) for outgoing in found]

    def put(self, outgoing: OutgoingMessage) -> None:
        """Add a message to be sent."""
        outgoing.flush = self._flush
        self._left[self._flush] += 1
        self._waiting.append(outgoing)
        self._size += len(outgoing.body)

    def send(self) -> Iterator[OutgoingMessage]:
        """Yield what has to be sent now, in the order in which the server will number it."""
        while self._waiting:
            outgoing = self._waiting.popleft()
            self._sent[self._next] = outgoing
            self._next += 1
            yield outgoing

    def note_return(self, message_id: str, reason: str) -> None:
        """Note that the server has returned a message; its confirmation is still to come."""
        for outgoing in self._sent.values():
            if outgoing.name == message_id and not outgoing.returned:
                outgoing.returned = reason
                return

    def confirm(self, number: int, *, multiple: bool) -> None:
        """Note that the server has taken one message, or all up to it, or returned them before."""
        for outgoing in self._take(number, multiple=multiple):
            self._size -= len(outgoing.body)
            self._left[outgoing.flush] -= 1
            if outgoing.returned:
                self._refused.append(outgoing)

    def refuse(self, number: int, *, multiple: bool) -> None:
        """Note that the server could not take them now; they wait to be sent again."""
        self._waiting.extend(self._take(number, multiple=multiple))

    def begin_channel(self) -> None:
        """Begin a channel: count from 1, and send what the last one did not confirm again."""
        for outgoing in self._sent.values():
            outgoing.returned = ""
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self._next = 1

    def _take(self, number: int, *, multiple: bool) -> list[OutgoingMessage]:
        if not multiple:
            outgoing = self._sent.pop(number, None)
            return [] if outgoing is None else [outgoing]
        taken = []
        for each in list(self._sent):
            if each > number:
                break
            taken.append(self._sent.pop(each))
        return taken
