"""`RecentTimes`: how often something has happened lately. PURE."""

from __future__ import annotations

from collections import deque


class RecentTimes:
    """Times within a sliding window, in s."""

    def __init__(self, within_s: float) -> None:
        self.within_s = within_s
        self._times: deque[float] = deque()

    def note(self, now: float) -> int:
        """Add a time; return how many there were within the window, this one included."""
        self._times.append(now)
        while self._times[0] < now - self.within_s:
            self._times.popleft()
        return len(self._times)

    def forget(self) -> None:
        """Forget all of them."""
        self._times.clear()
