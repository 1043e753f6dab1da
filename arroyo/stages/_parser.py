"""`MessageParser`: makes messages of a foreign wire format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

from arroyo.messages import Message

Frame: TypeAlias = bytes | memoryview
"""One frame of a multipart message, as the transport delivered it."""


class MessageParser(ABC):
    """Makes a message of the frames that a transport delivers together.

    The same parser serves every transport: a multipart ZMQ message is its frames, a Redis or
    RabbitMQ message is one or two of them. Called from the listener's thread only.
    """

    @abstractmethod
    def parse(self, frames: Sequence[Frame]) -> Message | None:
        """Return the message; None if these frames are not a message.

        Raises
        ------
        DecodeError
            The frames are broken. The listener counts them and goes on.
        """
