"""`LogMerge`: puts the lines of several logs in the order of their times. PURE.

Lines of one log never change places: where its clock was set back, they follow the line before.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import takewhile
from typing import Generic

from .logs import L


class LogMerge(Generic[L]):
    """Merges logs that have ended, then what is added to them."""

    def __init__(self) -> None:
        self._latest: dict[str, datetime] = {}
        """Latest time in each log so far."""
        self._held: list[tuple[datetime, L]] = []
        """Lines that came in the last round, in order."""

    def merge(self, logs: Mapping[str, Iterable[L]]) -> Iterator[L]:
        """Yield the lines of all logs in order, reading each no further than needed."""
        return (line for _, line in self._merged(logs))

    def add(self, logs: Mapping[str, Iterable[L]]) -> list[L]:
        """Take the new lines of all logs; return those that nothing older can follow.

        The logs are read one after the other. So lines wait for the next round unless they are
        older than the latest line of the round before: by then every log was read again.
        """
        until = self._held[-1][0] if self._held else None
        found = list(self._merged(logs))
        ready = [] if until is None else list(takewhile(lambda timed: timed[0] <= until, found))
        self._held = found[len(ready) :]
        return [line for _, line in ready]

    def _merged(self, logs: Mapping[str, Iterable[L]]) -> Iterator[tuple[datetime, L]]:
        timed = (self._timed(name, lines) for name, lines in logs.items())
        return heapq.merge(self._held, *timed, key=lambda each: each[0])

    def _timed(self, name: str, lines: Iterable[L]) -> Iterator[tuple[datetime, L]]:
        for line in lines:
            latest = self._latest[name] = max(self._latest.get(name, line.time), line.time)
            yield latest, line
