"""All errors that Arroyo raises, with the exit codes of commands that end with them.

The class says whose fault it is; the text says what was found, what was expected and what to do
next. Exit codes follow sysexits(3).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, ClassVar


class ArroyoError(Exception):
    """Base of all errors of Arroyo."""

    exit_code: ClassVar[int] = 70


class UsageError(ArroyoError):
    """The command line asks for something that does not exist or is contradictory."""

    exit_code = 64


class ConfigurationError(ArroyoError):
    """The chain file, a stage's options, or a file, port or class that they name is wrong.

    Trying again without a change is useless, so a stage that ends with it is never restarted.

    Parameters
    ----------
    *problems
        Sentences, each with its place in the chain file if it has one.
    """

    exit_code = 78

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class AlreadyRunningError(ArroyoError):
    """Another process does the same: a supervisor of this chain, or this replica."""

    exit_code = 75


class UnavailableError(ArroyoError):
    """Something outside (a broker, a server, a running chain) can't be reached just now."""

    exit_code = 75


_PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)
_AWAY = frozenset({errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH})


def may_pass(error: BaseException) -> bool:
    """Return True if the cause is outside users' code: a full disk, a host that is away."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING | _AWAY


def fault_of(error: OSError) -> type[ConfigurationError | UnavailableError]:
    """Return the class of error for a file that can't be used.

    A cause that may pass, such as a full disk, is worth trying again.
    """
    return UnavailableError if error.errno in _PASSING else ConfigurationError


class ProgramError(ArroyoError):
    """A program that is a stage has ended when or how it should not have."""

    exit_code = 1


class StageError(ArroyoError):
    """A stage's own code broke a rule of its role; the text names the stage and the rule."""


class RefusedError(ArroyoError):
    """The outside world has refused messages of `publish()`; all others are published.

    Raised by a publisher's `flush()`. Each of these messages is then treated as the stage's
    ``on_error`` says, as if `publish()` had raised on it.

    Parameters
    ----------
    refused
        Messages of `publish()`, and the error of each. A publisher that keeps a message for this
        has to keep a copy (`event.copy()`).
    """

    def __init__(self, refused: Sequence[tuple[Any, Exception]]) -> None:
        super().__init__(f"{len(refused)} messages were refused, the first: {refused[0][1]}")
        self.refused = refused


class EncodeError(ArroyoError):
    """A message holds a value that can't be sent; the text names the message type and value."""


class DecodeError(ArroyoError):
    """Received bytes are wrong; the sender is at fault, not this stage."""
