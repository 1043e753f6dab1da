"""`Publisher`: the base class of stages that hand messages to the outside world."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any, ClassVar

from arroyo.messages import Message, Start, Stop

from ._base import WaitingStage
from ._lists import find_list_method


class Publisher(WaitingStage, ABC):
    """Publishes messages to the outside world.

    All methods are called from one thread, in this order: `open()` once, `publish()` for each
    message, `close()` once. Each may be async; then all are awaited on one event loop.
    Start comes before the events of its run and Stop after them.
    Subclasses need not call ``super().__init__()``.

    A publisher may define ``flush()``: then a message counts as published when the next
    `flush()` has returned. The framework calls it every 100 ms or 64 MiB, and before `close()`.
    If some messages were refused, `flush()` raises `RefusedError` with them.

    If the outside confirms messages in the background, it may define a plain ``begin_flush()`` too.
    That returns a function which tells, without waiting, whether all is published by now that was
    before ``begin_flush()``, and raises what `flush()` would; more is published meanwhile.
    `flush()` is called where that takes more than 1 s, and at the end.

    A publisher may define ``publish_batch(messages)``, where the outside world takes many messages
    at once. Then that is called in place of `publish()`, with a list of Events of one run, in their
    order; how long the list is depends on how many messages wait, and may be 1. `publish()` gets
    Start and Stop only, and need not be defined. If `publish_batch()` raises, it is called again
    with each message alone: it should have published all of them or none.
    """

    idempotent: ClassVar[bool] = False
    """Whether publishing the same `message.key` twice does no harm."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.publish is Publisher.publish and find_list_method(cls, "publish") is not None:
            cls.publish = _publish_single  # type: ignore[method-assign]

    def open(self) -> None:
        """Prepare: connect, create files. Called before READY; raise to refuse the start."""

    @abstractmethod
    def publish(self, message: Message) -> Awaitable[None] | None:
        """Publish one message; returning means done (or done at the next ``flush()``)."""

    def close(self) -> None:
        """Release everything. Called once, also after an error."""


def _publish_single(self: Any, message: Message) -> Any:
    """Publish one message by `publish_batch()`; a Start or Stop is none of its business."""
    if isinstance(message, Start | Stop):
        return None
    return self.publish_batch([message])
