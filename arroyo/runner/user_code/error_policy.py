"""`ErrorPolicy`: calls users' code as often as ``on_error`` says, whatever that raises.

Whatever users' code raises counts as raised on the message in hand, also what Python keeps for
other uses: a `sys.exit()` deep in a library must not take a stage's queue along. Only what the
framework itself throws into that code passes through; see `require_users_own`.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from arroyo.config.graph import Stage
from arroyo.errors import ConfigurationError, StageError, UnavailableError
from arroyo.messages import Message
from arroyo.protocol.values.deliveries import Work
from arroyo.runner.process.stop_signals import StopNowError

if TYPE_CHECKING:
    from arroyo.runner.quarantine.writer import QuarantineWriter

_log = logging.getLogger(__name__)

T = TypeVar("T")

LOGGED_ERRORS = 20
"""Errors of one stage that are logged with their stack; later ones are only counted."""


class StageFailedError(StageError):
    """A stage's code raised, and its ``on_error`` is ``crash``."""


class UnusableMethodError(ConfigurationError):
    """A method of a stage can't work on any message; the text names it and says why."""


class Outcomes(Protocol[T]):
    """Outcomes of messages, in their order; a list is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> T: ...

    def append(self, outcome: T, /) -> None:
        """Note what became of the next message."""
        ...


Tried = TypeVar("Tried", bound=Work | Message)
"""A message, alone or with its place in the run."""

Failure: TypeAlias = tuple[Tried, BaseException]
"""A message, and what a stage's code raised on it."""

Kept = TypeVar("Kept", bound=Outcomes[Any])


class ErrorPolicy(Generic[Tried, Kept]):
    """Tries messages as often as ``on_error`` says, and counts what went wrong.

    Parameters
    ----------
    work
        Calls it for each message, and appends what becomes of that, up to a message that it
        raises on, which is returned. It is the loop that all messages go through, so what does
        not depend on the message is outside of it.
    skipped, quarantined
        What stands for a message that is skipped, and for one that is quarantined.
    quarantine
        Where messages go that are given up; None: they are skipped instead.
    due
        Not empty: `work` stops after the message that it has in hand, and so does `run`.
    """

    def __init__(
        self,
        stage: Stage,
        work: Callable[[Iterator[Tried], Kept], Failure[Tried] | None],
        make_outcomes: Callable[[], Kept],
        *,
        skipped: Any,
        quarantined: Any,
        quarantine: QuarantineWriter | None,
        due: Sequence[bool] = (),
    ) -> None:
        self._stage = stage
        self._work = work
        self._make_outcomes = make_outcomes
        self._skipped = skipped
        self._quarantined = quarantined
        self._due = due
        self._quarantine = None if stage.on_error == "skip" else quarantine
        self._last_word = "it is skipped" if self._quarantine is None else "it goes to quarantine"
        self.errors = 0

    def run(self, messages: Iterable[Tried], outcomes: Kept | None = None) -> Kept:
        """Return what became of each message, or what stands for it if the code raised on it.

        `outcomes`: the place where it is appended; else one is made.

        StageError: it raised and ``on_error`` is ``crash``, or it does on every message.
        UnavailableError: the outside world failed, which is not the message's fault: the stage has
        to be started again, and the message comes again.
        UnusableMethodError: the method can't work on any message.
        """
        outcomes = self._make_outcomes() if outcomes is None else outcomes
        left = iter(messages)
        while (failure := self._go_on(left, outcomes)) is not None:
            outcomes.append(self._after(*failure))
            if self._due:
                break
        return outcomes

    def _go_on(self, left: Iterator[Tried], outcomes: Kept) -> Failure[Tried] | None:
        # Neither here nor in `_after` does a name for the error outlive the call: an error keeps
        # its frames and those that called them, so the message would stay until the garbage
        # collector finds the circle.
        if not self.errors:
            return self._work(left, outcomes)  # there is no streak of errors to end
        before = len(outcomes)
        try:
            return self._work(left, outcomes)
        finally:
            if self._quarantine is not None and len(outcomes) > before:
                self._quarantine.note_success()

    def _after(self, tried: Tried, error: BaseException) -> Any:
        """Try a message again that the code raised on, and decide what stands for it."""
        message: Message = tried[2] if isinstance(tried, tuple) else tried
        try:
            for _ in range(self._stage.retries):
                self._require_worth_it(message, error)
                self._report(label(message), error, "trying again")
                outcomes = self._make_outcomes()
                failure = self._go_on(iter((tried,)), outcomes)
                if failure is None:
                    return outcomes[0]
                _, error = failure
                del failure
            self._require_worth_it(message, error)
            self._report(label(message), error, self._last_word)
            if self._quarantine is None:
                return self._skipped
            self._quarantine.put(message, error, self._stage.retries + 1)
            return self._quarantined
        finally:
            del error

    def refuse(self, message: Message, error: BaseException) -> Any:
        """Return what stands for a message that was worked on, and refused later; as in `run`."""
        self._require_worth_it(message, error)
        self._report(label(message), error, self._last_word)
        if self._quarantine is None:
            return self._skipped
        self._quarantine.put_refused(message, error)
        return self._quarantined

    def note_worked(self) -> None:
        """Messages were worked on without this object, as a list."""
        if self._quarantine is not None:
            self._quarantine.note_success()

    def report_list(self, count: int, error: BaseException) -> None:
        """A list was raised on: its messages are tried alone; raises what `run` would."""
        if isinstance(error, UnavailableError | UnusableMethodError):
            raise error
        self._report(f"a list of {count} messages", error, "each is tried alone")

    def note_accepted(self) -> None:
        """Messages that were worked on are safe, and were not refused."""
        if self._quarantine is not None:
            self._quarantine.note_accepted()

    def _require_worth_it(self, message: Message, error: BaseException) -> None:
        """Pass on what is not the message's fault, and what has to end the stage."""
        if isinstance(error, UnavailableError | UnusableMethodError):
            raise error
        if self._stage.on_error == "crash":
            self._report(label(message), error, "the stage ends")
            raise StageFailedError(
                f"{self._stage.target} raised {in_words(error)} on {label(message)}, "
                'and on_error is "crash"'
            ) from error

    def _report(self, what: str, error: BaseException, what_follows: str) -> None:
        self.errors += 1
        if self.errors > LOGGED_ERRORS:
            return
        _log.warning(
            "%s raised %s on %s; %s%s",
            self._stage.target,
            in_words(error),
            what,
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
