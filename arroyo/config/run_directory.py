"""Where a running chain keeps its sockets, locks, status pages and logs.

One folder per chain, private to its user (0700). Everything in it can be found from the chain's
name and a replica's name alone, so stages started in any way meet there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from arroyo.errors import ArroyoError, ConfigurationError, fault_of
from arroyo.identifiers import ReplicaName, digest, is_name

from .graph import Chain

# sun_path holds 108 bytes with the closing zero; the longest name below is in/STAGE.R.
_SOCKET_PATH_LIMIT = 107


class RunDirectory:
    """The run directory of one chain; see `locate` for where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def locate(cls, chain: str, environ: Mapping[str, str]) -> RunDirectory:
        """Find the folder of `chain`.

        It is ``$ARROYO_RUN_DIR`` itself, else a folder below ``$RUNTIME_DIRECTORY``,
        ``$XDG_RUNTIME_DIR/arroyo`` or ``/run/arroyo``.
        """
        if own := environ.get("ARROYO_RUN_DIR"):
            return cls(Path(own).absolute())
        if runtime := environ.get("RUNTIME_DIRECTORY"):
            # systemd gives a list with colons; the first is the unit's own.
            return cls(Path(runtime.split(":")[0]) / chain)
        if xdg := environ.get("XDG_RUNTIME_DIR"):
            return cls(Path(xdg) / "arroyo" / chain)
        return cls(Path("/run/arroyo") / chain)

    def create(self) -> None:
        """Make the folder and its parts where missing; nobody else may be able to enter it.

        Raises
        ------
        ConfigurationError
            It can't be made, or belongs to somebody else.
        UnavailableError
            Its disk is full, or gone.
        """
        try:
            for folder in (self.path, *(self.path / part for part in _PARTS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.path.stat()
            if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != 0o700:
                self.path.chmod(0o700)
        except OSError as error:
            raise self._unusable(error) from error
        if found.st_uid != os.geteuid():
            raise ConfigurationError(
                f"the run directory {self.path} belongs to user {found.st_uid}, not to you; "
                "set ARROYO_RUN_DIR to a folder of your own"
            )

    def create_for(self, chain: Chain) -> None:
        """Do as `create`, and note down whose folder it is, so that the chain's name finds it.

        Errors as in `create`.
        """
        self.create()
        if self._has_note(note := f"{chain.name}\n{chain.path}\n"):
            return  # so a stage comes back on a disk that is full
        # Stages that start together all do this; each replaces the note whole, with the same.
        draft = self.path / f"chain.{os.getpid()}"
        try:
            draft.write_text(note, "utf-8")
            draft.replace(self.path / _NOTE)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise self._unusable(error) from error

    def _has_note(self, note: str) -> bool:
        try:
            return (self.path / _NOTE).read_text("utf-8") == note
        except (OSError, UnicodeDecodeError):
            return False

    def _unusable(self, error: OSError) -> ArroyoError:
        return fault_of(error)(
            f"the run directory {self.path} can't be made: {error.strerror}; "
            "set ARROYO_RUN_DIR to a folder that you may write"
        )

    def chain_file(self, chain: str) -> Path | None:
        """Chain file that `chain` was last started from; None where it never ran here."""
        try:
            name, file = (self.path / _NOTE).read_text("utf-8").splitlines()
        except (OSError, ValueError):
            return None
        return Path(file) if name == chain else None

    def obstacle(self) -> str | None:
        """Say why `create` would fail, without making anything; None where it would not."""
        existing = next(folder for folder in (self.path, *self.path.parents) if folder.exists())
        if not existing.is_dir():
            return f"the run directory {self.path} can't be made: {existing} is not a folder"
        if existing == self.path and existing.stat().st_uid != os.geteuid():
            return f"the run directory {self.path} belongs to user {existing.stat().st_uid}"
        if not os.access(existing, os.W_OK | os.X_OK):
            return f"the run directory {self.path} can't be made: {existing} is not yours to write"
        return None

    def socket(self, kind: str, name: ReplicaName | str) -> Path:
        """Path of a unix socket: kind ``in``, ``back``, ``pub`` of a replica, or ``s`` (others).

        A path too long for a socket address is replaced by a short one with a hash in it.
        """
        path = self.path / kind / str(name)
        if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
            return path
        twin = Path(f"/tmp/arroyo-{os.geteuid()}")  # noqa: S108  (0700 and checked below)
        twin.mkdir(mode=0o700, exist_ok=True)
        found = twin.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o77:
            raise ConfigurationError(f"{twin} is not a private folder of yours; remove it")
        return twin / digest(os.fsencode(path))

    def address(self, kind: str, name: ReplicaName | str) -> str:
        """ZMQ address of `socket`."""
        return f"ipc://{self.socket(kind, name)}"

    @property
    def control(self) -> Path:
        """The supervisor's control socket."""
        return self.socket("s", "control")

    @property
    def notify(self) -> Path:
        """The datagram socket that supervised stages report to (sd_notify)."""
        return self.socket("s", "notify")

    def lock(self, name: ReplicaName | str) -> Path:
        """Lock file of a replica, or of the ``supervisor``."""
        return self.path / "lock" / str(name)

    def status_page(self, name: ReplicaName) -> Path:
        """Status page of a replica."""
        return self.path / "status" / str(name)

    def log(self, name: ReplicaName | str) -> Path:
        """JSON-lines log of a replica."""
        return self.path / "log" / f"{name}.jsonl"


def list_known_chains(environ: Mapping[str, str]) -> list[str]:
    """Name the chains that have a run directory of this user, in alphabetical order."""
    folder = RunDirectory.locate("any", environ).path
    candidates = [folder] if environ.get("ARROYO_RUN_DIR") else folder.parent.glob("*/")
    names = set()
    for candidate in candidates:
        try:
            name = (candidate / _NOTE).read_text("utf-8").partition("\n")[0]
        except OSError:
            continue  # no chain's folder, or somebody else's
        if is_name(name):
            names.add(name)
    return sorted(names)


_NOTE = "chain"
_PARTS = ("in", "back", "pub", "s", "lock", "status", "log")
