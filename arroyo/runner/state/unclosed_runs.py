"""`UnclosedRuns`: what a source leaves for its next life, the runs whose Stop somebody may lack.

They are in a log of the state directory, to which they are added when a run begins, is stopped, or
is over for everybody; how far the open one has come is counted in words of the status page. Both
survive `kill -9`. Nothing is forced to the disk: a power cut may take the last seconds. The page is
gone after a reboot: then nobody knows how far the open run had come.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from arroyo.durable.append_log import AppendLog
from arroyo.durable.frames import FileKind
from arroyo.protocol.recovery.unclosed_run import UnclosedRun, runs_left
from arroyo.telemetry.status_page import read_status_page

COMPACT_BYTES = 64 * 1024

_KIND = FileKind(b"RUNS", 1)
_Runs = tuple[UnclosedRun, ...]


class _Noted(msgspec.Struct, array_like=True):
    """The last entry replaces those before."""

    runs: _Runs = ()

    def apply(self, runs: _Runs) -> None:
        self.runs = runs


class UnclosedRuns:
    """The runs of one replica, of the lives before and of this one.

    `page`: the status page of the life before: this life has not made its own yet.

    ConfigurationError: the file is of another version.
    """

    def __init__(self, page: Path, path: Path) -> None:
        self._path = path
        self._log: AppendLog[_Noted] | None = None
        noted: _Runs = ()
        with contextlib.suppress(OSError):
            self._log = self._open()
            noted = self._log.state.runs
        words = read_status_page(page)
        self.former = noted if words is None else runs_left(noted, words)
        """What the lives before have left, oldest first. What the page says of an open run is
        written down, for the life after this one, if this one dies before it has closed the run."""
        if self.former != noted:
            with contextlib.suppress(OSError):  # without room only this life knows of them
                self.note(self.former)

    def _open(self) -> AppendLog[_Noted]:
        return AppendLog(
            self._path,
            _KIND,
            _Noted,
            _Runs,
            empty=_Noted,
            sync=False,
            compact_bytes=COMPACT_BYTES,
        )

    def note(self, runs: Iterable[UnclosedRun]) -> None:
        """Write down the runs of a source, oldest first, instead of those that were noted before.

        OSError: there is no room for them; what was there is gone as well.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._log is None:
                self._log = self._open()
            self._log.append(tuple(runs))
        except OSError:
            # Rather none than one that calls a run open that has ended since.
            self.close()
            self._log = None
            self._path.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Close the file; it stays for the next life."""
        if self._log is not None:
            self._log.close()
