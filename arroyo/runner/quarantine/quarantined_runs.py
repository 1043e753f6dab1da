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

from arroyo.identifiers import digest

_BACK = ".back"


class QuarantinedRun(NamedTuple):
    """What is known of a run: both packed, empty where there is none."""

    start: bytes
    stop: bytes
    returned: int
    """How many of its messages have been brought back by now."""


class QuarantinedRuns:
    """The runs of one quarantine; errors are OSErrors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, stage: str, source: str, run: str, number: str, start: bytes) -> None:
        """Note that a message of a run is put aside; `start` as the stage got it."""
        folder = self._of(stage, source, run)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with self._locked():
            folder.mkdir(mode=0o700, exist_ok=True)
            if start and not (folder / "start").exists():
                _write(folder / "start", start)
            (folder / number).touch(0o600)

    def note_stop(self, stage: str, source: str, run: str, stop: bytes) -> None:
        """Note the Stop of a run as the stage got it, if any of its messages is put aside."""
        folder = self._of(stage, source, run)
        if folder.is_dir():
            with self._locked():
                if folder.is_dir():
                    _write(folder / "stop", stop)

    def find(self, stage: str, source: str, run: str) -> QuarantinedRun:
        """Return what is known of a run."""
        folder = self._of(stage, source, run)
        start, stop = (_read(folder / name) for name in ("start", "stop"))
        return QuarantinedRun(start, stop, len(list(folder.glob(f"*{_BACK}"))))

    def remove(self, stage: str, source: str, run: str, number: str, *, returned: bool) -> None:
        """Note that a message has been brought back, or was dropped."""
        folder = self._of(stage, source, run)
        if not folder.is_dir():
            return
        with self._locked():
            if returned:
                (folder / f"{number}{_BACK}").touch(0o600)
            (folder / number).unlink(missing_ok=True)
            left = [path.name for path in folder.iterdir() if path.suffix != _BACK]
            if set(left) <= {"start", "stop"}:
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from changing anything meanwhile."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _of(self, stage: str, source: str, run: str) -> Path:
        return self._folder / digest(repr((stage, source, run)).encode())


def _write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.chmod(0o600)
    draft.replace(path)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
