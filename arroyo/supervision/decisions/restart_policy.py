"""When an ended replica comes back: at once, later, or not at all. PURE.

The first restart is immediate; further ones wait `backoff_s`, doubled each time up to 30 s, with
jitter so that replicas of one stage do not come back in step. 60 s of READY forgive everything.
More than `max_restarts` unexpected ends within `within_s` are too many.
A stage that exits with 75 waits for something outside (a disk, a broker, a lock): it comes back
with the same backoff for as long as that takes, and it never counts as a failure.
"""

from __future__ import annotations

from collections import deque

BACKOFF_LIMIT_S = 30.0
JITTER = 0.2
STABLE_S = 60.0
RETRY_FAILED_S = 300.0
PERMANENT_EXITS = frozenset({64, 78})
"""Wrong usage or configuration (sysexits): the same again would end the same way."""
TRY_LATER_EXIT = 75
"""What the stage needs is away for now (sysexits): nothing is wrong with the stage."""
STOPPING_RETRY_S = 1.0
"""Longest wait for it while the chain drains: time is short, and the queue needs the stage."""


def backoff_delay_s(failures: int, backoff_s: float, random: float) -> float:
    """Time to wait before restart number `failures` (1: the first, at once), in s.

    `random` in [0, 1) spreads the waits by ±20 %.
    """
    if failures <= 1:
        return 0.0
    # The exponent is bounded too: a float overflows after a thousand doublings.
    exponential = min(backoff_s * 2.0 ** min(failures - 2, 64), BACKOFF_LIMIT_S)
    return exponential * (1.0 + JITTER * (2.0 * random - 1.0))


class RecentEnds:
    """Times of unexpected ends within a sliding window."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._times: deque[float] = deque()

    def note(self, now: float) -> int:
        """Add an end; return how many there were within the window, this one included."""
        self._times.append(now)
        while self._times[0] < now - self._within_s:
            self._times.popleft()
        return len(self._times)

    def forget(self) -> None:
        """Start anew."""
        self._times.clear()
