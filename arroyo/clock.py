"""`Clock`: the time as an argument, so that tests can move it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Source of the time."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; for all decisions."""
        ...

    def wall(self) -> float:
        """Seconds since 1970; for people, never for decisions."""
        ...


class SystemClock:
    """The clocks of the machine; `CLOCK_MONOTONIC` is the same for all processes of a host."""

    monotonic = staticmethod(time.monotonic)
    """Seconds since some fixed point, in s."""
    wall = staticmethod(time.time)
    """Seconds since 1970, in s."""
