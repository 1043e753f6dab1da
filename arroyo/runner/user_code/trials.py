"""`Trial`: calls users' code as often as ``on_error`` says: where anything may be raised.

Whatever users' code raises counts as raised on the message in hand, also what Python keeps for
other uses: a `sys.exit()` deep in a library must not take a stage's queue along. Only what the
framework itself throws into that code passes through; see `require_users_own`.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from arroyo.config.graph import Stage
from arroyo.errors import ConfigurationError, StageError, UnavailableError
from arroyo.messages import Message
from arroyo.runner.process.stop_signals import StopNowError

_log = logging.getLogger(__name__)

T = TypeVar("T")

LOGGED_ERRORS = 20
"""Errors of one stage that are logged with their stack; later ones are only counted."""


class StageFailedError(StageError):
    """A stage's code raised, and its ``on_error`` is ``crash``."""


class UnusableMethodError(ConfigurationError):
    """A method of a stage can't work on any message; the text names it and says why."""


class PutAside(Protocol):
    """Keeps messages that a stage's code fails on; see `isolation.Isolation`."""

    def put(self, message: Message, error: BaseException, attempts: int) -> None:
        """Keep a message that it raised on; an error of Arroyo where that can't be."""
        ...

    def note_success(self) -> None:
        """It has worked on a message."""
        ...

    def put_refused(self, message: Message, error: BaseException) -> None:
        """Keep a message that it worked on, and that was refused later; errors as in `put`."""
        ...

    def note_accepted(self) -> None:
        """A message that it worked on was not refused."""
        ...


class Outcomes(Protocol[T]):
    """What became of messages, in their order; a list is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> T: ...

    def append(self, outcome: T, /) -> None:
        """Note what became of the next message."""
        ...


Failure: TypeAlias = tuple[Message, BaseException]
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
        self._last_word = "it is skipped" if self._aside is None else "it goes to quarantine"
        self.errors = 0

    def run(self, messages: Iterable[Message], outcomes: Kept | None = None) -> Kept:
        """Return what became of each message, or what stands for it if the code raised on it.

        `outcomes`: the place where it is appended; else one is made.

        Raises
        ------
        StageError
            It raised and ``on_error`` is ``crash``, or it does on every message.
        UnavailableError
            The outside world failed, which is not the message's fault: the stage has to be
            started again, and the message comes again.
        UnusableMethodError
            The method can't work on any message.
        """
        outcomes = self._make_outcomes() if outcomes is None else outcomes
        left = iter(messages)
        while (failure := self._go_on(left, outcomes)) is not None:
            outcomes.append(self._after(*failure))
        return outcomes

    def _go_on(self, left: Iterator[Message], outcomes: Kept) -> Failure | None:
        # Neither here nor in `_after` does a name for the error outlive the call: an error keeps
        # its frames and those that called them, so the message would stay until the garbage
        # collector finds the circle.
        before = len(outcomes)
        try:
            return self._work(left, outcomes)
        finally:
            if self._aside is not None and len(outcomes) > before:
                self._aside.note_success()

    def _after(self, message: Message, error: BaseException) -> Any:
        """Try a message again that the code raised on, and decide what stands for it."""
        try:
            for _ in range(self._stage.retries):
                self._require_worth_it(message, error)
                self._report(message, error, "trying again")
                outcomes = self._make_outcomes()
                failure = self._go_on(iter((message,)), outcomes)
                if failure is None:
                    return outcomes[0]
                _, error = failure
                del failure
            self._require_worth_it(message, error)
            self._report(message, error, self._last_word)
            if self._aside is None:
                return self._skipped
            self._aside.put(message, error, self._stage.retries + 1)
            return self._isolated
        finally:
            del error

    def refuse(self, message: Message, error: BaseException) -> Any:
        """Return what stands for a message that was worked on, and refused later; as in `run`."""
        self._require_worth_it(message, error)
        self._report(message, error, self._last_word)
        if self._aside is None:
            return self._skipped
        self._aside.put_refused(message, error)
        return self._isolated

    def note_accepted(self) -> None:
        """Messages that were worked on are safe, and were not refused."""
        if self._aside is not None:
            self._aside.note_accepted()

    def _require_worth_it(self, message: Message, error: BaseException) -> None:
        """Pass on what is not the message's fault, and what has to end the stage."""
        if isinstance(error, UnavailableError | UnusableMethodError):
            raise error
        if self._stage.on_error == "crash":
            self._report(message, error, "the stage ends")
            raise StageFailedError(
                f"{self._stage.target} raised {in_words(error)} on {label(message)}, "
                'and on_error is "crash"'
            ) from error

    def _report(self, message: Message, error: BaseException, what_follows: str) -> None:
        self.errors += 1
        if self.errors > LOGGED_ERRORS:
            return
        _log.warning(
            "%s raised %s on %s; %s%s",
            self._stage.target,
            in_words(error),
            label(message),
            what_follows,
            "; further errors are only counted" if self.errors == LOGGED_ERRORS else "",
            exc_info=error,
        )


def require_users_own(error: BaseException) -> None:
    """Raise `error` again if users' code is not its origin but only where it arrived.

    That is a second stop signal, and Ctrl-C where nobody has taken the signal over (in a test,
    say). A `KeyboardInterrupt` that users' code raises itself is an error like any other.
    """
    ctrl_c = (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ctrl_c or isinstance(error, StopNowError):
        raise error


def in_words(error: BaseException) -> str:
    """Return class and text of an error; its class alone where the text can't be had."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException as failure:  # noqa: BLE001  (`__str__` is users' code too)
        require_users_own(failure)
        return f"{name} (its __str__() raised {type(failure).__name__})"
    return f"{name}: {text}" if text else name


def label(message: Message) -> str:
    """Return what a message is called in a log."""
    return f"{type(message).__name__} {message.key if message.origin else '(new)'}"
