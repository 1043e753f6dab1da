"""`MessageParser`: a foreign wire format into messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

from arroyo.messages import Message

Frame: TypeAlias = bytes | memoryview
"""One frame of a multipart message, as the transport delivered it."""


class MessageParser(ABC):
    """Turns what one transport delivered at once into a message.

    The same parser serves every transport: a multipart ZMQ message is its frames, a Redis or
    RabbitMQ message is one or two of them. Called from the listener's thread only.
    """

    @abstractmethod
    def parse(self, frames: Sequence[Frame]) -> Message | None:
        """Return the message, or None where these frames are no message of their own.

        Raises
        ------
        DecodeError
            The frames are broken. The listener counts it and goes on with the next.
        """
