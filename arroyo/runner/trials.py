"""`Trial`: calls users' code as often as ``on_error`` says: where anything may be raised."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from arroyo.config.graph import Stage
from arroyo.errors import StageError, UnavailableError
from arroyo.messages import Message

_log = logging.getLogger(__name__)

T = TypeVar("T")

LOGGED_ERRORS = 20
"""Errors of one stage that are logged with their stack; later ones are only counted."""


class StageFailedError(StageError):
    """A stage's code raised, and its ``on_error`` is ``crash``."""


class PutAside(Protocol):
    """Keeps messages that a stage's code fails on; see `isolation.Isolation`."""

    def put(self, message: Message, error: Exception, attempts: int) -> None:
        """Keep a message that it raised on; an error of Arroyo where that can't be."""
        ...

    def note_success(self) -> None:
        """It has worked on a message."""
        ...


class Outcomes(Protocol[T]):
    """What became of messages, in their order; a list is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> T: ...

    def append(self, outcome: T, /) -> None:
        """Note what became of the next message."""
        ...


Failure: TypeAlias = tuple[Message, Exception]
"""A message, and what a stage's code raised on it."""

Kept = TypeVar("Kept", bound=Outcomes[Any])


class Trial(Generic[Kept]):
    """Tries messages as often as ``on_error`` says, and counts what went wrong.

    Parameters
    ----------
    stage
        Whose code is called.
    work
        Calls it for each message, and appends what becomes of that, up to a message that it
        raises on, which is returned. It is the loop that all messages go through, so what does
        not depend on the message is outside of it.
    make_outcomes
        Makes the place where it appends.
    skipped, isolated
        What stands for a message that is given up, and for one that is put aside.
    aside
        Where messages are put aside; None: they are given up instead.
    """

    def __init__(
        self,
        stage: Stage,
        work: Callable[[Iterator[Message], Kept], Failure | None],
        make_outcomes: Callable[[], Kept],
        *,
        skipped: Any,
        isolated: Any,
        aside: PutAside | None,
    ) -> None:
        self._stage = stage
        self._work = work
        self._make_outcomes = make_outcomes
        self._skipped = skipped
        self._isolated = isolated
        self._aside = None if stage.on_error == "skip" else aside
        self._last_word = "it is skipped" if self._aside is None else "it is put aside"
        self.errors = 0

    def run(self, messages: Iterable[Message], attempt: int = 0) -> Kept:
        """Return what became of each message, or what stands for it if the code raised on it.

        Raises
        ------
        StageError
            It raised and ``on_error`` is ``crash``, or it does on every message.
        UnavailableError
            The outside world failed, which is not the message's fault: the stage has to be
            started again, and the message comes again.
        """
        outcomes = self._make_outcomes()
        left = iter(messages)
        while True:
            before = len(outcomes)
            failure = self._work(left, outcomes)
            self._note_success(len(outcomes) - before)
            if failure is None:
                return outcomes
            message, error = failure
            outcomes.append(self._after(error, message, attempt))

    def _note_success(self, times: int) -> None:
        if times and self._aside is not None:
            self._aside.note_success()

    def _after(self, error: Exception, message: Message, attempt: int) -> Any:
        """Decide what stands for a message that the code raised on."""
        if isinstance(error, UnavailableError):
            raise error
        self._report(error, message, attempt)
        if self._stage.on_error == "crash":
            raise StageFailedError(
                f"{self._stage.target} raised {in_words(error)} on {label(message)}, "
                'and on_error is "crash"'
            ) from error
        if attempt < self._stage.retries:
            return self.run((message,), attempt + 1)[0]
        if self._aside is None:
            return self._skipped
        self._aside.put(message, error, attempt + 1)
        return self._isolated

    def _report(self, error: Exception, message: Message, attempt: int) -> None:
        self.errors += 1
        if self.errors > LOGGED_ERRORS:
            return
        again = attempt < self._stage.retries
        _log.warning(
            "%s raised %s on %s; %s%s",
            self._stage.target,
            in_words(error),
            label(message),
            "trying again" if again else self._last_word,
            "; further errors are only counted" if self.errors == LOGGED_ERRORS else "",
            exc_info=error,
        )


def in_words(error: BaseException) -> str:
    """Return class and text of an error."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def label(message: Message) -> str:
    """Return what a message is called in a log."""
    return f"{type(message).__name__} {message.key if message.origin else '(new)'}"
