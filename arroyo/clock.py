"""Time, as an argument: whoever decides by time takes a `Clock`, so that tests can move it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; every decision uses this one."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, for people to read; never used to decide."""
        ...


class SystemClock:
    """The machine's clock. `CLOCK_MONOTONIC` is the same for all processes of one host."""

    def monotonic(self) -> float:
        """Seconds since some fixed point, in s."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970, in s."""
        return time.time()
