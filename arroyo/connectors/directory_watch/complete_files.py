"""`CompleteFiles`: finds the files of a directory that are complete. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Stamp(NamedTuple):
    """Size and time that show whether a file has changed."""

    size_bytes: int
    mtime_ns: int


class CompleteFiles:
    """Finds out which files are complete and not reported yet. PURE.

    A file is complete when its stamp has been the same for `settle_s`, by the caller's clock (a
    file server may have another one), and it is not empty (many writers make a file first and fill
    it later). A file that vanishes is forgotten: under the same name it is a new file.
    """

    def __init__(self, settle_s: float, ignored: Iterable[str] = ()) -> None:
        self._settle_s = settle_s
        self._reported = set(ignored)
        self._since: dict[str, tuple[Stamp, float]] = {}
        self.changed_s = -math.inf
        """When a file last came or changed, by the caller's clock."""

    @property
    def pending(self) -> int:
        """Number of files that are not empty and not yet complete."""
        return sum(stamp.size_bytes > 0 for stamp, _ in self._since.values())

    def unreported(self, present: set[str]) -> set[str]:
        """Forget the files that are not `present`; return those whose stamps `update` needs."""
        self._reported &= present
        return present - self._reported

    def update(self, stamps: Mapping[str, Stamp], now_s: float) -> list[str]:
        """Take the stamps of all unreported files.

        Returns
        -------
        The files that are complete now, oldest first, then by name.
        """
        previous, self._since = self._since, {}
        complete = []
        for name, stamp in stamps.items():
            before, since_s = previous.get(name, (None, now_s))
            if before != stamp:
                since_s = now_s
                if stamp.size_bytes:
                    self.changed_s = now_s
            if stamp.size_bytes and now_s - since_s >= self._settle_s:
                complete.append((stamp.mtime_ns, name))
            else:
                self._since[name] = (stamp, since_s)
        names = [name for _, name in sorted(complete)]
        self._reported.update(names)
        return names
