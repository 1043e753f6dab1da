"""`StateDirectory`: quarantine, journals and records of folds, which outlast a reboot.

One folder per chain, private to its user (0700); the chain's name alone says where it is. The run
directory is usually gone after a reboot.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from arroyo.identifiers import ReplicaName

from .graph import Chain
from .private_folder import PrivateFolder, home_of, is_own, of_unit

SYSTEM = Path("/var/lib/arroyo")
"""Parent of the state directories of root, and of the units of systemd."""


class StateDirectory:
    """The state directory of one chain; see `locate` for where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = PrivateFolder(path, "state directory", "ARROYO_STATE_DIR")

    @classmethod
    def locate(cls, chain: str, environ: Mapping[str, str]) -> StateDirectory:
        """Find the folder of `chain`.

        It is ``$ARROYO_STATE_DIR/CHAIN``, else in ``$STATE_DIRECTORY`` (that of a systemd unit),
        ``/var/lib/arroyo`` (for root, and where systemd has made one for this user),
        ``$XDG_STATE_HOME/arroyo`` or ``~/.local/state/arroyo``.
        """
        return cls(next(_places(chain, environ)))

    def create(self) -> None:
        """Make the folder where missing, for this user alone.

        Errors as in `PrivateFolder.create`.
        """
        self.folder.create()

    @property
    def quarantine(self) -> Path:
        """Folder of the messages in quarantine."""
        return self.path / "quarantine"

    @property
    def sources(self) -> Path:
        """Parent of the folders of all replayable sources."""
        return self.path / "source"

    def fold(self, name: ReplicaName) -> Path:
        """Return the file in which a fold keeps state for its next process."""
        return self.path / "fold" / str(name)

    def source(self, name: ReplicaName) -> Path:
        """Return the folder in which a replayable source keeps state for its next process."""
        return self.sources / str(name)

    def former_runs(self, name: ReplicaName) -> Path:
        """Return the file with a volatile source's open runs, which its next process closes."""
        return self.path / "runs" / str(name)

    def incarnations(self, name: ReplicaName) -> Path:
        """Return the file with the incarnations that a replica has had."""
        return self.path / "lives" / str(name)


def find_strangers(chain: Chain, state: StateDirectory) -> list[str]:
    """Return a sentence on each journal of a source that the chain doesn't have (any more).

    The source may have been renamed. Under its new name it doesn't know what it has handed over,
    and hands it over again.
    """
    if not state.sources.is_dir():
        return []
    known = set(map(str, chain.replicas))
    return [
        f"{folder} is the journal of {folder.name}, which chain {chain.name} doesn't have: if that "
        "source was renamed, all its input is handed over again. To go on where it was, stop the "
        "chain and give the folder the new name; else remove it"
        for folder in sorted(state.sources.iterdir())
        if folder.name not in known
    ]


def _places(chain: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the places for the folder, best first."""
    if parent := environ.get("ARROYO_STATE_DIR"):
        yield Path(parent).absolute() / chain
    if unit := environ.get("STATE_DIRECTORY"):
        yield of_unit(unit, chain)
    if os.geteuid() == 0 or is_own(SYSTEM / chain):
        yield SYSTEM / chain
    if (xdg := Path(environ.get("XDG_STATE_HOME", ""))).is_absolute():
        yield xdg / "arroyo" / chain
    yield home_of(environ) / ".local/state/arroyo" / chain
