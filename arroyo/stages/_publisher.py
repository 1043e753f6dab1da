"""`Publisher`: the last stage of a chain, which hands messages to the outside world."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import ClassVar

from arroyo.messages import Message

from ._waiting import WaitingStage


class Publisher(WaitingStage, ABC):
    """Publishes messages to the outside world.

    All methods are called from one thread, in this order: `open()` once, `publish()` for each
    message, `close()` once. Each may be async; then all are awaited on one event loop.
    Start comes before the events of its run and Stop after them.
    Subclasses need not call ``super().__init__()``.

    A publisher may define ``flush()``: then a message counts as published when the next
    `flush()` has returned. The framework calls it every 100 ms or 64 MiB, and before `close()`.
    Where it learns that some were refused, it raises `RefusedError` with them.
    """

    idempotent: ClassVar[bool] = False
    """Whether publishing the same `message.key` twice does no harm."""

    def open(self) -> None:
        """Get ready: connect, create files. Called before READY; raise to refuse the start."""

    @abstractmethod
    def publish(self, message: Message) -> Awaitable[None] | None:
        """Publish one message; returning means done (or done at the next ``flush()``)."""

    def close(self) -> None:
        """Let go of everything. Called once, also after an error."""
