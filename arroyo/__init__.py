"""Chains of processes for live data: listeners, operators, publishers, and their supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import ArroyoError, ConfigurationError, DecodeError, EncodeError, UnavailableError
from .messages import Event, Message, Origin, Start, Stop
from .stages import IteratingListener, Listener, MessageParser, Operator, PollingListener, Publisher

if TYPE_CHECKING:
    from .runner.in_process import run

__version__ = "0.1.0"

__all__ = [
    "ArroyoError",
    "ConfigurationError",
    "DecodeError",
    "EncodeError",
    "Event",
    "IteratingListener",
    "Listener",
    "Message",
    "MessageParser",
    "Operator",
    "Origin",
    "PollingListener",
    "Publisher",
    "Start",
    "Stop",
    "UnavailableError",
    "run",
]


def __getattr__(name: str) -> Any:
    # `run` brings the whole runner with it, which `import arroyo` in a user's module must not.
    if name == "run":
        from .runner.in_process import run

        return run
    raise AttributeError(f"module 'arroyo' has no attribute {name!r}")
