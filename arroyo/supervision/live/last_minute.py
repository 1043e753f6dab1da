"""`LastMinute`: how a figure was over the last minute, and its sparkline. PURE."""

from __future__ import annotations

from collections.abc import Sequence

PART_S = 3.0
PARTS = 20
BARS = "▁▂▃▄▅▆▇"
"""Without the full block, so that a bar does not touch the row above."""


class LastMinute:
    """Means of a figure over the last parts of 3 s, of which the newest one goes on."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[float, int]] = {}
        self._newest = 0

    def add(self, time_s: float, value: float | None) -> None:
        """Add a value that is 0 or more; None: it is not known at that time."""
        self._newest = int(time_s // PART_S)
        if value is not None:
            total, count = self._sums.get(self._newest, (0.0, 0))
            self._sums[self._newest] = total + value, count + 1
        self._sums = {part: each for part, each in self._sums.items() if self._is_recent(part)}

    def _is_recent(self, part: int) -> bool:
        return self._newest - PARTS < part <= self._newest

    @property
    def means(self) -> tuple[float | None, ...]:
        """Means of the last 20 parts, oldest first; None where nothing is known."""
        found = map(self._sums.get, range(self._newest - PARTS + 1, self._newest + 1))
        return tuple(each and each[0] / each[1] for each in found)


def sparkline(values: Sequence[float | None]) -> str:
    """Draw values of 0 or more, the largest as a full bar; blank where one is not known."""
    most = max((value for value in values if value is not None), default=0.0)
    return "".join(_bar(value, most) for value in values)


def _bar(value: float | None, most: float) -> str:
    if value is None:
        return " "
    return BARS[min(len(BARS) - 1, int(value / most * len(BARS)))] if most > 0 else BARS[0]
