"""`RunDirectory`: where a running chain keeps its sockets, locks, status pages and logs.

One folder per chain, private to its user (0700). The names of chain and replica alone say where
everything is, so stages meet there however they were started.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from arroyo.identifiers import ReplicaName, digest, is_name

from .private_folder import PrivateFolder, home_of, is_own, of_unit

SYSTEM = Path("/run/arroyo")
"""Parent of the run directories of root, and of the units of systemd."""
_USERS = Path("/run/user")

# sun_path holds 108 bytes with the closing zero.
_SOCKET_PATH_LIMIT = 107
_NOTE = "chain"
_PARTS = ("in", "back", "pub", "s", "lock", "status", "log", "parameters", "tap", "version")


class ChainNote(NamedTuple):
    """Note in a run directory: the chain that runs in it, or ran last."""

    chain: str
    file: Path
    """Its chain file."""
    state: Path
    """Its state directory."""


class RunDirectory:
    """The run directory of one chain; see `locate` for where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = PrivateFolder(path, "run directory", "ARROYO_RUN_DIR")

    @classmethod
    def locate(cls, chain: str, environ: Mapping[str, str]) -> RunDirectory:
        """Find the folder of `chain`.

        It is ``$ARROYO_RUN_DIR/CHAIN``, else in ``$RUNTIME_DIRECTORY`` (that of a systemd unit),
        in ``/run/arroyo`` where systemd has made one for this user, in
        ``$XDG_RUNTIME_DIR/arroyo``, ``/run/arroyo`` (root), ``/run/user/UID/arroyo`` where there
        is a ``/run/user/UID``, or ``~/.cache/arroyo/run``.
        """
        return cls(next(_places(chain, environ)))

    def create(self) -> None:
        """Make the folder and its parts where missing, for this user alone.

        Errors as in `PrivateFolder.create`.
        """
        self.folder.create(_PARTS)

    def write_note(self, note: ChainNote) -> None:
        """Write the note, by which commands find the chain file from the chain's name.

        Only for a process that holds one of the locks here, or it could replace the note of a
        running chain. A note that is the same is not written again.

        ConfigurationError, UnavailableError: it can't be written.
        """
        if note == self.read_note():
            return
        self._write(self.path / _NOTE, b"\n".join(os.fsencode(field) for field in note) + b"\n")

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file, which is there either as a whole or not at all."""
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            draft.write_bytes(content)
            draft.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise self.folder.unusable(error) from error

    def read_note(self) -> ChainNote | None:
        """Return the note; None where there is none, or it can't be read."""
        try:
            name, file, state = (self.path / _NOTE).read_bytes().splitlines()
        except (OSError, ValueError):
            return None
        return ChainNote(os.fsdecode(name), Path(os.fsdecode(file)), Path(os.fsdecode(state)))

    def chain_file(self, chain: str) -> Path | None:
        """Return the file that `chain` was last started from; None if it never ran here."""
        note = self.read_note()
        return note.file if note is not None and note.chain == chain else None

    def version(self, text: str) -> Path:
        """Return the path of the copy of a chain file with this text."""
        return self.path / "version" / f"{digest(text.encode())}.toml"

    def keep_version(self, text: str) -> Path:
        """Write that copy, from which a supervisor has its stages read; return its path.

        So they read what the supervisor has accepted, whatever is being edited. Copies stay until
        `forget_versions`, since a process that was just started may still have to read one.

        ConfigurationError, UnavailableError: it can't be written.
        """
        self._write(self.version(text), text.encode())
        return self.version(text)

    def accept_version(self, text: str) -> None:
        """Note that the chain goes by the version with this text, of which a copy is kept.

        ConfigurationError, UnavailableError: the note can't be written.
        """
        draft = self.accepted.with_name(f"accepted.{os.getpid()}")
        try:
            draft.unlink(missing_ok=True)
            draft.symlink_to(self.version(text).name)
            draft.replace(self.accepted)
        except OSError as error:
            raise self.folder.unusable(error) from error

    @property
    def accepted(self) -> Path:
        """The copy by which the chain goes that runs here; there is none where it is not kept."""
        return self.path / "version" / "accepted"

    def forget_versions(self) -> None:
        """Remove the copies that a supervisor has kept which has ended, or ends."""
        for path in (self.path / "version").glob("*"):
            with contextlib.suppress(OSError):
                path.unlink()

    def socket(self, kind: str, name: ReplicaName | str) -> Path:
        """Return the path of a unix socket: ``in``, ``back``, ``pub`` of a replica, ``s`` (others).

        A path that is too long for a socket address, or no text, which ZMQ takes addresses as,
        leads through a descriptor of the folder in this process. It is the same socket, but other
        users can't use that path. Where there is no folder, there is no socket either.
        """
        path = self.path / kind / str(name)
        with contextlib.suppress(UnicodeEncodeError):
            if len(str(path).encode()) <= _SOCKET_PATH_LIMIT:
                return path
        try:
            descriptor = _descriptor_of(self.path)
        except FileNotFoundError:
            return path
        return Path(f"/proc/{os.getpid()}/fd/{descriptor}", kind, str(name))

    def address(self, kind: str, name: ReplicaName | str) -> str:
        """Return the ZMQ address of `socket`."""
        return f"ipc://{self.socket(kind, name)}"

    @property
    def control(self) -> Path:
        """The supervisor's control socket."""
        return self.socket("s", "control")

    @property
    def notify(self) -> Path:
        """The datagram socket that supervised stages report to (sd_notify)."""
        return self.socket("s", "notify")

    @property
    def locks(self) -> list[Path]:
        """All lock files, held or not."""
        return sorted((self.path / "lock").glob("*"))

    @property
    def settling(self) -> Path:
        """The file that a process locks while it takes its own lock and writes the note."""
        return self.path / "settling"

    def lock(self, name: ReplicaName | str) -> Path:
        """Return the lock file of a replica, or of the ``supervisor``."""
        return self.path / "lock" / str(name)

    def status_page(self, name: ReplicaName) -> Path:
        """Return the status page of a replica."""
        return self.path / "status" / str(name)

    def tap(self, name: ReplicaName) -> Path:
        """Return the file by which a command looks at the messages of a replica."""
        return self.path / "tap" / str(name)

    def parameters(self, stage: str) -> Path:
        """Return the note of what people have set in a stage."""
        return self.path / "parameters" / stage

    def log(self, name: ReplicaName | str) -> Path:
        """Return the JSON-lines log of a replica."""
        return self.path / "log" / f"{name}.jsonl"

    @property
    def events(self) -> Path:
        """What has happened to the chain, in JSON lines; the supervisor writes it."""
        return self.path / "log" / "events.jsonl"

    @property
    def logs(self) -> list[str]:
        """Names of the processes that have left a log: ``STAGE.R``, and ``supervisor``."""
        found = (self.path / "log").glob("*.jsonl")
        return sorted(path.stem for path in found if path != self.events)


def find_hidden(chain: str, environ: Mapping[str, str]) -> str | None:
    """Return a sentence on why this user can't see whether `chain` runs; None if it can.

    It can't if the run directory belongs to another user, or if the chain never ran as this user
    and systemd's units run it as another one.
    """
    place = RunDirectory.locate(chain, environ)
    if not os.path.lexists(place.path):
        units = RunDirectory(SYSTEM / chain)
        place = units if units.folder.hidden() else place
    reason = place.folder.hidden()
    return f"can't see chain {chain}: {reason}" if reason else None


def list_known_chains(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the chains that have a run directory of this user, sorted."""
    parents = {place.parent for place in _places("any", environ)} | {SYSTEM}
    names = set()
    for parent in parents:
        for candidate in parent.glob("*/"):
            note = RunDirectory(candidate).read_note()  # None for that of another user
            if note is None or not is_name(note.chain):
                continue
            if RunDirectory.locate(note.chain, environ).path == candidate:
                names.add(note.chain)
    return sorted(names)


def _places(chain: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the places for the folder, best first. Other users can't make any of them."""
    if parent := environ.get("ARROYO_RUN_DIR"):
        yield Path(parent).absolute() / chain
    if unit := environ.get("RUNTIME_DIRECTORY"):
        yield of_unit(unit, chain)
    if is_own(SYSTEM / chain):
        yield SYSTEM / chain
    # After `su` the variable of another user is still in the environment.
    xdg = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if xdg.is_absolute() and (is_own(xdg) or not xdg.exists()):
        yield xdg / "arroyo" / chain
    if os.geteuid() == 0:
        yield SYSTEM / chain
    if is_own(session := _USERS / str(os.geteuid())):
        yield session / "arroyo" / chain
    yield home_of(environ) / ".cache/arroyo/run" / chain


_descriptors: dict[Path, int] = {}


def _descriptor_of(folder: Path) -> int:
    """Return a descriptor of a folder that stays open, and follows the path to a new folder.

    There is one for each folder with a long path that this process uses.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    known = _descriptors.setdefault(folder, descriptor)
    if known != descriptor:
        if not os.path.sameopenfile(known, descriptor):
            os.dup2(descriptor, known, inheritable=False)  # the folder was made anew
        os.close(descriptor)
    return known
