"""Every error that Arroyo raises, with the exit code that its command ends with.

The class says whose fault it is; the text says what was found, what was expected
and what to do next. Exit codes follow sysexits(3).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, ClassVar


class ArroyoError(Exception):
    """Base of all errors of Arroyo."""

    exit_code: ClassVar[int] = 70


class UsageError(ArroyoError):
    """The command line asks for something that does not exist or makes no sense."""

    exit_code = 64


class ConfigurationError(ArroyoError):
    """The chain file, a stage's options, or what they name (file, port, class) is wrong.

    Trying again without a change is useless, so a stage that ends with it is never restarted.

    Parameters
    ----------
    *problems
        One sentence each, with its place in the chain file where it has one.
    """

    exit_code = 78

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class AlreadyRunningError(ArroyoError):
    """Another process holds the place: a second supervisor of one chain, or a twin of a stage."""

    exit_code = 75


class UnavailableError(ArroyoError):
    """Something outside (a broker, a server, a running chain) can't be reached just now."""

    exit_code = 75


_PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)
_AWAY = frozenset({errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH})


def may_pass(error: BaseException) -> bool:
    """Return True if users' code failed for something outside: a full disk, a host that is away."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING | _AWAY


def fault_of(error: OSError) -> type[ConfigurationError | UnavailableError]:
    """Say whose fault it is that a file can't be used.

    Nobody's where it may pass, as a full disk does, so that it is worth trying again.
    """
    return UnavailableError if error.errno in _PASSING else ConfigurationError


class StageError(ArroyoError):
    """A stage's own code broke a rule of its role; the text names the stage and the rule."""


class RefusedError(ArroyoError):
    """The outside world has refused messages that `publish()` had taken; all others are published.

    Raised by a publisher's `flush()`. Each of these messages then goes the way that the stage's
    ``on_error`` says, as if `publish()` had raised on it.

    Parameters
    ----------
    refused
        Messages, as `publish()` had them, and what is wrong with each. A publisher that keeps a
        message for this keeps a copy (`event.copy()`).
    """

    def __init__(self, refused: Sequence[tuple[Any, Exception]]) -> None:
        super().__init__(f"{len(refused)} messages were refused, the first: {refused[0][1]}")
        self.refused = refused


class EncodeError(ArroyoError):
    """A message holds something that can't travel; the text names the message type and value."""


class DecodeError(ArroyoError):
    """Bytes that came in are not what they should be; the sender is at fault, not this stage."""
