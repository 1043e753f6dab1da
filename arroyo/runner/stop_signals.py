"""SIGTERM and SIGINT of a stage: the first one drains, the second one stops now."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


class StopNowError(BaseException):
    """Stop at once, whatever the stage's code is doing. Not an `Exception`: nobody catches it."""


class StopSignals:
    """Counts stop signals of this process.

    Parameters
    ----------
    wake
        Called at the first signal, in the main thread between two instructions.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.count = 0
        self.orphaned = False
        """Whether it is the supervisor's death that asks: then the whole chain ends."""
        self._wake = wake
        for number in _NUMBERS:
            signal.signal(number, self._handle)

    @property
    def asked(self) -> bool:
        """Whether to drain."""
        return self.count > 0

    def note_orphaned(self) -> None:
        """The supervisor has died: drain, as at a first signal."""
        self.orphaned = True
        self.count = max(self.count, 1)
        self._wake()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            raise StopNowError
        self._wake()

    @staticmethod
    def ignore() -> None:
        """The stage has ended: a signal that comes late must not turn its end into a failure."""
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)


_NUMBERS = (signal.SIGTERM, signal.SIGINT)
