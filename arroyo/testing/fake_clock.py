"""`FakeClock`: time that moves when the test says so."""

from __future__ import annotations


class FakeClock:
    """A `Clock` that moves only when it is told to.

    Parameters
    ----------
    monotonic_s, wall_s
        Times at first, in s.
    """

    def __init__(self, monotonic_s: float = 1000.0, wall_s: float = 1_700_000_000.0) -> None:
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return self._monotonic_s

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._wall_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward.

        Raises
        ------
        ValueError
            Time would run backwards.
        """
        if seconds < 0:
            raise ValueError(f"time can't advance by {seconds} s")
        self._monotonic_s += seconds
        self._wall_s += seconds

    def set_wall(self, wall_s: float) -> None:
        """Set the wall clock, as an administrator may; the monotonic clock does not move."""
        self._wall_s = wall_s
