"""`LogReader`: reads one log, its rotated files first, then what is added."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic

from .logs import L, parse_line
from .rotated_file import rotated

CHUNK_BYTES = 1024 * 1024


class LogReader(Generic[L]):
    """Reads lines in the order in which they were written; loses none when the log is rotated.

    Files that are still to be read stay open, so that a reader that was held up, by a pager for
    instance, finds them again though they were rotated several times.

    `path`: the log; it may be created later.
    `kind`: what its lines are.
    `since`: leave out older lines; None: read all.
    """

    def __init__(self, path: Path, kind: type[L], since: datetime | None = None) -> None:
        self._path = path
        self._kind = kind
        self._since = since
        self._open: deque[int] = deque()
        """Descriptors of the files that are not read to their end, oldest first."""
        self._offset = 0
        """Beginning of the next line in the oldest of them."""
        self._time = since or datetime.fromtimestamp(0, UTC)

    def read(self) -> Iterator[L]:
        """Yield the lines that were written since the last call."""
        self._find_newer()
        while self._open:
            for raw in self._lines(self._open[0]):
                line = self._decode(raw)
                if self._since is None or line.time >= self._since:
                    yield line
            if len(self._open) == 1:
                return
            os.close(self._open.popleft())
            self._offset = 0

    def close(self) -> None:
        """Close all files."""
        while self._open:
            os.close(self._open.pop())

    def _find_newer(self) -> None:
        """Open the files that are newer than the newest one that is open."""
        known = [os.fstat(self._open[-1])] if self._open else []
        found: list[int] = []
        for path in rotated(self._path):
            if (descriptor := open_log(path)) is None:
                continue
            status = os.fstat(descriptor)
            if any(os.path.samestat(status, other) for other in known):
                os.close(descriptor)  # this one is read, or was rotated between two looks
                if self._open and os.path.samestat(status, known[0]):
                    break
                continue
            known.append(status)
            found.append(descriptor)
        self._open.extend(reversed(found))

    def _lines(self, descriptor: int) -> Iterator[bytes]:
        """Yield whole lines; the writer may be in the middle of the last one."""
        if os.fstat(descriptor).st_size < self._offset:
            self._offset = 0  # it was emptied
        size = CHUNK_BYTES
        while data := os.pread(descriptor, size, self._offset):
            end = data.rfind(b"\n")
            if end >= 0:
                self._offset += end + 1
                yield from data[:end].split(b"\n")
            elif len(data) < size:
                return
            else:
                size *= 2

    def _decode(self, raw: bytes) -> L:
        """Return the line; one that is not of a log is shown as it is."""
        line = parse_line(raw, self._kind)
        if line is None:
            text = raw.decode(errors="backslashreplace")
            return self._kind(self._time, "WARNING", __name__, "", self._path.stem, 0, text)
        self._time = line.time
        return line


def open_log(path: Path) -> int | None:
    """Open a file of a log to be read; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
