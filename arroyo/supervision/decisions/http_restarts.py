"""When the process that serves a chain's metrics is started again. PURE.

As a stage it comes back at once, then with growing waits, and not after a wrong configuration.
Since nothing depends on it, it may end as often as it likes.
"""

from __future__ import annotations

from collections.abc import Callable

from .backoff import backoff_delay_s
from .ending import PERMANENT_EXITS
from .process_ends import STABLE_S

BACKOFF_S = 0.5


class HttpRestarts:
    """Starts of one process.

    `random`: gives numbers in [0, 1) for the jitter.
    `now`: when it is first to be started, in s (monotonic).
    """

    def __init__(self, random: Callable[[], float], now: float) -> None:
        self._random = random
        self._failures = 0
        self._started_at = now
        self.due_at: float | None = now
        """When it is to be started; None: it runs, or is not tried again."""

    def started(self, now: float) -> None:
        """Note that it runs."""
        self._started_at, self.due_at = now, None

    def ended(self, status: int | None, now: float) -> float | None:
        """Note that it has ended; return after which delay it is started again (None: never).

        `status`: exit code, or minus the signal that killed it; None: it could not be started.
        """
        if status in PERMANENT_EXITS:
            return None
        if status is not None and now - self._started_at >= STABLE_S:
            self._failures = 0
        self._failures += 1
        delay_s = backoff_delay_s(self._failures, BACKOFF_S, self._random())
        if status is None:
            delay_s = max(delay_s, BACKOFF_S)
        self.due_at = now + delay_s
        return delay_s
