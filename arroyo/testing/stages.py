"""Stages for tests: a listener that plays a script, a publisher that remembers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from arroyo.messages import Event, Message
from arroyo.stages import IteratingListener, Processor, Publisher

M = TypeVar("M", bound=Message)


class RecordingPublisher(Publisher):
    """Remembers what it was given, in order, and whether it was opened and closed."""

    idempotent = False

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.opened = self.closed = 0

    def open(self) -> None:
        """Count the call."""
        self.opened += 1

    def publish(self, message: Message) -> None:
        """Remember the message; an event with a copy of its payload, which ends with this call."""
        self.messages.append(message.copy() if isinstance(message, Event) else message)

    def close(self) -> None:
        """Count the call."""
        self.closed += 1

    def of_type(self, kind: type[M]) -> list[M]:
        """Return the messages of one type, such as all events."""
        return [message for message in self.messages if isinstance(message, kind)]


class ScriptedListener(IteratingListener):
    """Hands over given messages, and ends.

    Parameters
    ----------
    operator
        What takes them.
    script
        Messages, or pairs of message and token, in order.
    """

    def __init__(
        self, operator: Processor, script: Iterable[Message | tuple[Message, Any]]
    ) -> None:
        super().__init__(operator)
        self._script = script
        self.acknowledged: list[Any] = []
        """Tokens whose messages every sink has finished."""

    def messages(self) -> Iterator[Message | tuple[Message, Any]]:
        """Yield the script."""
        yield from self._script

    def acknowledge(self, token: Any) -> None:
        """Remember the token."""
        self.acknowledged.append(token)
