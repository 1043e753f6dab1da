"""`Folders`: the run directory and the state directory of one chain, which go together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from arroyo.errors import ConfigurationError

from .run_directory import RunDirectory
from .state_directory import StateDirectory


class Folders(NamedTuple):
    """Where the processes of a chain meet, and where they keep what has to outlast a reboot."""

    run: RunDirectory
    state: StateDirectory

    @classmethod
    def locate(cls, chain: str, environ: Mapping[str, str]) -> Folders:
        """Return both by the environment alone; see their own `locate`."""
        return cls(RunDirectory.locate(chain, environ), StateDirectory.locate(chain, environ))

    @classmethod
    def at(cls, run_path: str, state_path: str) -> Folders:
        """Return those at two known paths."""
        return cls(RunDirectory(Path(run_path)), StateDirectory(Path(state_path)))

    def create(self) -> None:
        """Make both where missing; errors as in `PrivateFolder.create`."""
        if problem := self.clash():
            raise ConfigurationError(problem)
        self.run.create()
        self.state.create()

    def obstacles(self) -> list[str]:
        """Return a sentence for each reason why `create` would fail."""
        found = (self.clash(), self.run.folder.obstacle(), self.state.folder.obstacle())
        return [problem for problem in found if problem]

    def clash(self) -> str | None:
        """Return a sentence if the state directory is inside the run directory."""
        if not self.state.path.is_relative_to(self.run.path):
            return None
        return (
            f"the state directory {self.state.path} would be inside the run directory "
            f"{self.run.path}, which may vanish with a reboot; set ARROYO_STATE_DIR to another "
            "folder than ARROYO_RUN_DIR"
        )
