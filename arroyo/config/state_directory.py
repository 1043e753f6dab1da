"""Where a chain keeps what has to outlive it: messages in quarantine, how far inputs were read.

One folder per chain, private to its user (0700), found from the chain's name alone. The run
directory is no place for it: that is usually gone when the machine starts again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from arroyo.identifiers import ReplicaName


class StateDirectory:
    """The state directory of one chain; see `locate` for where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def locate(cls, chain: str, environ: Mapping[str, str]) -> StateDirectory:
        """Find the folder of `chain`.

        It is ``$ARROYO_STATE_DIR`` itself, else ``$ARROYO_RUN_DIR``, else a folder below
        ``$STATE_DIRECTORY``, ``$XDG_STATE_HOME/arroyo`` or ``~/.local/state/arroyo``; for root
        ``/var/lib/arroyo``.
        """
        if own := environ.get("ARROYO_STATE_DIR") or environ.get("ARROYO_RUN_DIR"):
            return cls(Path(own).absolute())
        if state := environ.get("STATE_DIRECTORY"):
            # systemd gives a list with colons; the first is the unit's own.
            return cls(Path(state.split(":")[0]) / chain)
        if xdg := environ.get("XDG_STATE_HOME"):
            return cls(Path(xdg) / "arroyo" / chain)
        if os.geteuid() == 0:
            return cls(Path("/var/lib/arroyo") / chain)
        return cls(Path.home() / ".local/state/arroyo" / chain)

    @property
    def quarantine(self) -> Path:
        """Folder of the messages in quarantine."""
        return self.path / "quarantine"

    def fold(self, name: ReplicaName) -> Path:
        """File of a replica that folds: what its next life has to know."""
        return self.path / "fold" / str(name)

    def source(self, name: ReplicaName) -> Path:
        """Folder of a source whose input can be read again: what its next life has to know."""
        return self.path / "source" / str(name)
