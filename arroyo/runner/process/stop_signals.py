"""Stop signals of a stage: the first drains it, the second stops it now.

SIGUSR1 is not among them: it makes the stage write its stacks and history, see `control/stacks.py`.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from types import FrameType

_log = logging.getLogger(__name__)

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_IGNORED = (signal.SIGUSR2, signal.SIGALRM)
"""Their default is to end a process without a word; users' code may set handlers of its own."""


class StopNowError(BaseException):
    """Stop at once, whatever the stage's code does; no `Exception`, so that it is not caught."""


class StopSignals:
    """Counts stop signals of this process.

    `wake`: called at the first signal, in the main thread between two instructions.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.count = 0
        self.orphaned = False
        """True if the supervisor has died: then the whole chain ends."""
        self._wake = wake
        self._told: set[int] = set()
        for number in _NUMBERS:
            # SIGHUP is ignored under nohup, and stays so.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        for number in _IGNORED:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._ignore)

    @property
    def asked(self) -> bool:
        """Return True once the stage should drain."""
        return self.count > 0

    def note_orphaned(self) -> None:
        """Drain, as at a first signal: the supervisor has died."""
        self.orphaned = True
        self.count = max(self.count, 1)
        self._wake()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self.count:
            return  # a terminal that closes sends two of them, which do not mean: now
        self.count += 1
        if self.count > 1:
            raise StopNowError
        self._wake()

    def _ignore(self, number: int, frame: FrameType | None) -> None:
        if number not in self._told:
            self._told.add(number)
            name = signal.Signals(number).name
            _log.warning("%s is ignored: it means nothing here. SIGTERM stops the stage", name)

    @staticmethod
    def ignore() -> None:
        """Ignore stop signals from here on: one that comes late must not make an end a failure."""
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)
