"""`FollowedFile`: reads what other processes append to a file, over rotation and truncation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

BEHIND_BYTES = 8 * 1024 * 1024
"""A reader that falls further behind than this skips to the last `LINE_BYTES`."""
LINE_BYTES = 32 * 1024
"""A longer line is returned in pieces."""


class FollowedFile:
    """Reads a file as it grows; never waits, never fails.

    `path`: the file; it may be created later, replaced or emptied.
    """

    def __init__(
        self, path: Path, *, from_end: bool = False, behind_bytes: int = BEHIND_BYTES
    ) -> None:
        self.skipped_bytes = 0
        """Bytes left out because the reader fell behind; the caller sets it to 0 when it tells."""
        self._path = path
        self._behind_bytes = behind_bytes
        self._descriptor = -1
        self._identity = (0, 0)
        """Device and inode of what is open."""
        self._offset = 0
        self._partial = b""
        if from_end and self._open():
            self._offset = self._size()

    def read(self, limit_bytes: int = LINE_BYTES) -> bytes:
        """Return the next bytes; empty if there are none."""
        if self._descriptor < 0 and not self._open():
            return b""
        try:
            if self._is_at_end():
                return b""
            found = self._read(limit_bytes)
            if not found and self._is_replaced():
                self.close()
                found = self._read(limit_bytes) if self._open() else b""
        except OSError:
            return b""
        return found

    def put_back(self, count: int) -> None:
        """Unread the last `count` bytes."""
        self._offset -= count

    def lines(self, limit_bytes: int, *, final: bool = False) -> Iterator[bytes]:
        """Yield whole lines of the next `limit_bytes`, without their ends.

        `final`: yield the last line even if it has no end.
        """
        left = limit_bytes
        while left > 0 and (data := self.read(min(left, LINE_BYTES))):
            left -= len(data)
            *whole, self._partial = (self._partial + data).split(b"\n")
            yield from whole
            if len(self._partial) >= LINE_BYTES:
                partial, self._partial = self._partial, b""
                yield partial
        if final and self._partial:
            partial, self._partial = self._partial, b""
            yield partial

    @property
    def unread_bytes(self) -> int:
        """Number of bytes that are still to be read."""
        return 0 if self._descriptor < 0 else max(0, self._size() - self._offset)

    def restart(self) -> None:
        """Read from the beginning: the file is being emptied."""
        self._offset = 0

    def close(self) -> None:
        """Close the file; reading opens it again, at its beginning."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._offset = -1, 0

    def _open(self) -> bool:
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags)
            self._identity = _identity(os.fstat(self._descriptor))
        except OSError:
            return False
        return True

    def _read(self, limit_bytes: int) -> bytes:
        size = self._size()
        if size < self._offset:  # it was emptied
            self._offset = 0
        if size - self._offset > self._behind_bytes:
            self._skip(size)
        found = os.pread(self._descriptor, limit_bytes, self._offset)
        self._offset += len(found)
        return found

    def _skip(self, size: int) -> None:
        """Skip all but the newest lines, which say most about what follows."""
        start = size - min(LINE_BYTES, self._behind_bytes)
        start += os.pread(self._descriptor, size - start, start).find(b"\n") + 1
        self.skipped_bytes += start - self._offset + len(self._partial)
        self._offset, self._partial = start, b""

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def _is_at_end(self) -> bool:
        """Whether there is nothing new: by one call, as a supervisor looks at all files often."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False  # what is open may still have something
        return _identity(found) == self._identity and found.st_size == self._offset

    def _is_replaced(self) -> bool:
        try:
            return _identity(self._path.stat()) != self._identity
        except FileNotFoundError:
            return False


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
