"""Stages for tests: a listener with a script, and a publisher that records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from arroyo.messages import Event, Message
from arroyo.stages import IteratingListener, Processor, Publisher

M = TypeVar("M", bound=Message)


class RecordingPublisher(Publisher):
    """Records the messages that it gets, in order, and how often it was opened and closed."""

    idempotent = False

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.opened = self.closed = 0

    def open(self) -> None:
        """Count the call."""
        self.opened += 1

    def publish(self, message: Message) -> None:
        """Record the message; an event with a copy of its payload, which is lent for this call."""
        self.messages.append(message.copy() if isinstance(message, Event) else message)

    def close(self) -> None:
        """Count the call."""
        self.closed += 1

    def of_type(self, kind: type[M]) -> list[M]:
        """Return the messages of one type, such as `Event`."""
        return [message for message in self.messages if isinstance(message, kind)]


class ScriptedListener(IteratingListener):
    """Hands over the given messages, and ends.

    Parameters
    ----------
    operator
        Takes the messages.
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
        """Record the token."""
        self.acknowledged.append(token)
