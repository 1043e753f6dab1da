"""`RotatedFile`: a file of lines with one writer, rotated by size. It never stops its writer."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

FILE_BYTES = 8 * 1024 * 1024
FILES = 3
"""It takes at most `FILES` times `FILE_BYTES`; older files end in ``.1`` and ``.2``."""


class RotatedFile:
    """A file with mode 0600 that no other process writes to.

    It is made where it is missing, also if it was removed or moved away since.

    `file_bytes`: a file that would get larger is rotated.
    """

    def __init__(self, path: Path, file_bytes: int = FILE_BYTES) -> None:
        self._path = path
        self._file_bytes = file_bytes
        self._descriptor: int | None = None

    def write(self, lines: bytes) -> bool:
        """Append whole lines; return False, and leave nothing of them, where that can't be."""
        try:
            descriptor = self._open(len(lines))
            start = os.fstat(descriptor).st_size
            if os.write(descriptor, lines) == len(lines):
                return True
            # The disk filled up within the line: remove the torn half.
            os.ftruncate(descriptor, start)
        except OSError:
            pass
        return False

    def _open(self, added_bytes: int) -> int:
        """Return a descriptor of the file at the path, with room for what is added."""
        if self._descriptor is not None:
            found = os.fstat(self._descriptor)
            if not self._is_at_path(found):
                self.close()
            elif found.st_size and found.st_size + added_bytes > self._file_bytes:
                self.close()
                self._rotate()
        if self._descriptor is None:
            # O_NONBLOCK: if the path is a pipe, opening it must not wait for a reader.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
            self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor

    def _is_at_path(self, found: os.stat_result) -> bool:
        """Return True unless the file was removed or moved away."""
        try:
            return os.path.samestat(found, self._path.stat())
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        for younger, older in reversed(list(itertools.pairwise(rotated(self._path)))):
            with contextlib.suppress(FileNotFoundError):
                younger.replace(older)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def rotated(path: Path) -> list[Path]:
    """Return the paths of a file and of those that were rotated, newest first."""
    return [path, *(Path(f"{path}.{age}") for age in range(1, FILES))]
