"""`OperatorOutbox`: where `self.publish()` of an operator puts messages."""

from __future__ import annotations

import logging
import reprlib
import threading

from arroyo.errors import StageError
from arroyo.messages import Message
from arroyo.stages import PUBLISHED_IN_A_LIST, Awaiter, Publisher

from .error_policy import LOGGED_ERRORS, UnusableMethodError

_log = logging.getLogger(__name__)


class OperatorOutbox(Publisher):
    """Buffers what an operator publishes until `process()` returns.

    So a call that fails leaves no partial output, and results get the identity of the message in
    hand. What is published at any other time, or from another thread, would get that of whichever
    message is in hand by then, if any: it is refused.
    """

    def __init__(self, target: str, awaiter: Awaiter) -> None:
        self.messages: list[Message] = []
        self.refused = 0
        self._target = target
        self._awaiter = awaiter
        self._thread: int | None = None
        """The thread that calls `process()` now."""
        self._takes_lists = False

    def begin(self, *, takes_lists: bool = False) -> None:
        """The calling thread calls `process()` from here on, or `process_batch()`."""
        self._thread = threading.get_ident()
        self._takes_lists = takes_lists

    def end(self) -> None:
        """The call has ended."""
        self._thread = None

    def publish(self, message: Message) -> None:
        """Put a message with the results of the one in hand."""
        awaiter = self._awaiter
        mine = awaiter.is_caller if awaiter.busy else self._thread == threading.get_ident()
        if not mine:
            raise self._refusal()
        if self._takes_lists:
            raise UnusableMethodError(f"{self._target}: {PUBLISHED_IN_A_LIST}")
        if not isinstance(message, Message):
            raise StageError(
                f"publish() got {type(message).__name__} {reprlib.repr(message)}, "
                "expected a message"
            )
        self.messages.append(message)

    def _refusal(self) -> StageError:
        error = StageError(
            f"{self._target} called publish() outside process(), in thread "
            f"{threading.current_thread().name!r}; nothing was published. A result belongs to the "
            "message that process() works on: return it, or publish it in the thread that "
            "process() was called in, before it returns"
        )
        self.refused += 1
        if self.refused <= LOGGED_ERRORS:
            # The thread may keep the error to itself.
            _log.warning("%s", error)
        return error
