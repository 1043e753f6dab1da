"""When it is the stage that is broken, and not the messages. PURE."""

from __future__ import annotations

from collections import deque

STREAK_MESSAGES = 10
STREAK_S = 60.0


class FailureStreak:
    """Messages that failed one after the other, with no success between them."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def add(self, now: float) -> bool:
        """Note a failure; returns whether there are more than STREAK_MESSAGES within STREAK_S."""
        self._times.append(now)
        while now - self._times[0] > STREAK_S:
            self._times.popleft()
        return len(self._times) > STREAK_MESSAGES

    def clear(self) -> None:
        """A message has come through."""
        self._times.clear()
