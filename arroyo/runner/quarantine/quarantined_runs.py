"""`QuarantinedRuns`: Start and Stop of the runs that messages in quarantine are of.

A message that is brought back when its run is over needs both: stages learn from the Start how to
work on it, and sinks where it belongs. Each run of each stage has a folder, with a file for each
of its messages in quarantine; the last of these takes the folder along.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from arroyo.durable.frames import FileKind
from arroyo.durable.replaced_file import ReplacedFile, sync_folder
from arroyo.identifiers import digest

_BACK = ".back"
_KIND = FileKind(b"QMSG", 1)


class QuarantinedRun(NamedTuple):
    """Start and Stop of a run, packed; empty where it has none."""

    start: bytes
    stop: bytes
    returned: int
    """How many of its messages have been brought back by now."""


class QuarantinedRuns:
    """The runs of one quarantine; errors are those of `ReplacedFile`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, stage: str, source: str, run: str, number: str, start: bytes) -> None:
        """Note that a message of a run is quarantined; `start` as the stage got it."""
        folder = self._of(stage, source, run)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with locked(self._folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            if start and not (folder / "start").exists():
                message_file(folder / "start").write(start)
            (folder / number).touch(0o600)
            sync_folder(folder)

    def note_stop(self, stage: str, source: str, run: str, stop: bytes) -> None:
        """Note the Stop of a run as the stage got it, if any of its messages is quarantined."""
        folder = self._of(stage, source, run)
        if folder.is_dir():
            with locked(self._folder):
                if folder.is_dir():
                    message_file(folder / "stop").write(stop)

    def find(self, stage: str, source: str, run: str) -> QuarantinedRun:
        """Return what is known of a run."""
        folder = self._of(stage, source, run)
        start, stop = (message_file(folder / name).read() or b"" for name in ("start", "stop"))
        return QuarantinedRun(start, stop, len(list(folder.glob(f"*{_BACK}"))))

    def remove(self, stage: str, source: str, run: str, number: str, *, returned: bool) -> None:
        """Note that a message has been brought back, or was dropped."""
        folder = self._of(stage, source, run)
        if not folder.is_dir():
            return
        with locked(self._folder):
            if returned:
                (folder / f"{number}{_BACK}").touch(0o600)
            (folder / number).unlink(missing_ok=True)
            left = {path.name for path in folder.iterdir() if not path.suffix}
            if left <= {"start", "stop"}:
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()

    def _of(self, stage: str, source: str, run: str) -> Path:
        return self._folder / digest(repr((stage, source, run)).encode())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing in a folder meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def message_file(path: Path) -> ReplacedFile[bytes]:
    """Return the file of a packed message."""
    return ReplacedFile(path, _KIND, bytes, sync=True)
