"""`Window`: messages on their way to a RabbitMQ server that it has not confirmed yet. PURE.

The server numbers what comes by a channel from 1, and confirms by these numbers. A channel that is
lost takes its numbers along: what was not confirmed by then waits to be sent again, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from arroyo.errors import StageError
from arroyo.messages import Message


class Letter:
    """One message as it is sent, and the message itself in case the server returns it."""

    __slots__ = ("body", "message", "properties", "returned")

    def __init__(self, message: Message, properties: Any, body: bytes) -> None:
        self.message = message
        self.properties = properties
        self.body = body
        self.returned = ""
        """Why the server has returned it; empty if it did not."""


class Window:
    """Bounds what is not confirmed.

    Parameters
    ----------
    messages, size
        How many there may be, and of how many bytes together; one may be larger.
    """

    def __init__(self, messages: int, size: int) -> None:
        self._most_messages = messages
        self._most_bytes = size
        self._size = 0
        self._waiting: deque[Letter] = deque()
        self._sent: dict[int, Letter] = {}
        self._next = 1
        self.refused: list[tuple[Message, StageError]] = []
        """Messages that the server has returned."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    def has_room(self, size: int) -> bool:
        """Return True if a message of so many bytes may be added."""
        if not len(self):
            return True
        return len(self) < self._most_messages and self._size + size <= self._most_bytes

    def is_roomy(self) -> bool:
        """Return True if it is worth while to go on adding."""
        return len(self) <= self._most_messages // 2 and self._size <= self._most_bytes // 2

    def is_empty(self) -> bool:
        """Return True if everything is confirmed."""
        return not self._waiting and not self._sent

    def put(self, letter: Letter) -> None:
        """Add a message that is to be sent."""
        self._waiting.append(letter)
        self._size += len(letter.body)

    def send(self) -> Iterator[Letter]:
        """Yield what is to be sent now, in the order in which the server will number it."""
        while self._waiting:
            letter = self._waiting.popleft()
            self._sent[self._next] = letter
            self._next += 1
            yield letter

    def note_return(self, message_id: str, reason: str) -> None:
        """The server has returned a message; its confirmation is still to come."""
        for letter in self._sent.values():
            if letter.properties.message_id == message_id and not letter.returned:
                letter.returned = reason
                return

    def confirm(self, number: int, *, multiple: bool) -> None:
        """The server has one message, or all up to that one, or has returned them before."""
        for letter in self._take(number, multiple=multiple):
            self._size -= len(letter.body)
            if letter.returned:
                self.refused.append((letter.message, StageError(letter.returned)))

    def refuse(self, number: int, *, multiple: bool) -> None:
        """The server could not take them just now; they wait to be sent again."""
        self._waiting.extend(self._take(number, multiple=multiple))

    def begin_channel(self) -> None:
        """A new channel counts from 1, and has to get whatever the last one did not confirm."""
        for letter in self._sent.values():
            letter.returned = ""
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self._next = 1

    def _take(self, number: int, *, multiple: bool) -> list[Letter]:
        if not multiple:
            letter = self._sent.pop(number, None)
            return [] if letter is None else [letter]
        taken = []
        for each in list(self._sent):
            if each > number:
                break
            taken.append(self._sent.pop(each))
        return taken
