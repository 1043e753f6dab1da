"""`ChainReader`: the status of a chain, again and again, also while its chain file changes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from arroyo.config.run_directory import RunDirectory
from arroyo.control.accepted_chain import load_accepted
from arroyo.errors import ConfigurationError

from .snapshot import Snapshot
from .status import StatusReader


class ChainReader:
    """Reads snapshots of a chain, which may be started, reloaded and stopped meanwhile.

    Parameters
    ----------
    file
        The chain file. A running chain is shown as its supervisor has accepted it, another one as
        its file has it; a file with mistakes changes nothing.

    Raises
    ------
    ConfigurationError
        The chain file has mistakes.
    UsageError
        The chain can't be seen from here, see `StatusReader`; or another one of its name runs.
    """

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self._file = file
        self._environ = environ
        self.chain = load_accepted(file, environ)
        """The chain of the last snapshot."""
        self._reader = StatusReader(self.chain, environ)
        self._accepted = RunDirectory.locate(self.chain.name, environ).accepted
        self._version: tuple[object, ...] = ()

    def read(self) -> Snapshot:
        """Return the status as it is now.

        UsageError: as above.
        """
        snapshot = self._reader.read()
        supervisor = snapshot.status["supervisor"]
        version = supervisor, _identity(self._file), _identity(self._accepted)
        if version != self._version:
            has_changed = self._follow()
            self._version = version
            if has_changed:
                return self._reader.read()
        return snapshot

    def _follow(self) -> bool:
        """Read the chain again; return True if it is another one."""
        with contextlib.suppress(ConfigurationError):
            chain = load_accepted(self._file, self._environ)
            if chain != self.chain and chain.name == self.chain.name:
                self.chain = chain
                self._reader = StatusReader(chain, self._environ)
                return True
        return False


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what differs once a file has changed; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
