"""Where a running chain keeps its sockets, locks, status pages and logs.

One folder per chain, private to its user (0700). Everything in it can be found from the chain's
name and a replica's name alone, so stages started in any way meet there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from arroyo.identifiers import ReplicaName, is_name

from .private_folder import PrivateFolder, home_of, is_own, of_unit

SYSTEM = Path("/run/arroyo")
"""Parent of the run directories of root, and of the units of systemd."""
_USERS = Path("/run/user")

# sun_path holds 108 bytes with the closing zero.
_SOCKET_PATH_LIMIT = 107
_NOTE = "chain"
_PARTS = ("in", "back", "pub", "s", "lock", "status", "log")


class Note(NamedTuple):
    """What a run directory says of the chain that runs in it, or ran last."""

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
        """Make the folder and its parts where missing; nobody else may be able to enter it.

        Errors as in `PrivateFolder.create`.
        """
        self.folder.create(_PARTS)

    def write_note(self, note: Note) -> None:
        """Note down whose folder this is, so that the chain's name finds it.

        Only for a process that holds one of the locks here: it would take the place of the note
        of a chain that runs. Nothing is written where the note stands already.

        Raises
        ------
        ConfigurationError, UnavailableError
            It can't be written.
        """
        if note == self.read_note():
            return
        draft = self.path / f"{_NOTE}.{os.getpid()}"
        try:
            draft.write_bytes(b"\n".join(os.fsencode(field) for field in note) + b"\n")
            draft.replace(self.path / _NOTE)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise self.folder.unusable(error) from error

    def read_note(self) -> Note | None:
        """Return what stands in the note; None where there is none, or it makes no sense."""
        try:
            name, file, state = (self.path / _NOTE).read_bytes().splitlines()
        except (OSError, ValueError):
            return None
        return Note(os.fsdecode(name), Path(os.fsdecode(file)), Path(os.fsdecode(state)))

    def chain_file(self, chain: str) -> Path | None:
        """Chain file that `chain` was last started from; None where it never ran here."""
        note = self.read_note()
        return note.file if note is not None and note.chain == chain else None

    def socket(self, kind: str, name: ReplicaName | str) -> Path:
        """Path of a unix socket: kind ``in``, ``back``, ``pub`` of a replica, or ``s`` (others).

        One that is too long for a socket address goes by way of a descriptor that this process
        holds of the folder. It leads to the same socket, but is of use in this process only, and
        to those that may look into it.
        """
        path = self.path / kind / str(name)
        if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
            return path
        return Path(f"/proc/{os.getpid()}/fd/{_descriptor_of(self.path)}", kind, str(name))

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

    @property
    def locks(self) -> list[Path]:
        """Lock files that are there, held or not."""
        return sorted((self.path / "lock").glob("*"))

    def lock(self, name: ReplicaName | str) -> Path:
        """Lock file of a replica, or of the ``supervisor``."""
        return self.path / "lock" / str(name)

    def status_page(self, name: ReplicaName) -> Path:
        """Status page of a replica."""
        return self.path / "status" / str(name)

    def log(self, name: ReplicaName | str) -> Path:
        """JSON-lines log of a replica."""
        return self.path / "log" / f"{name}.jsonl"


def find_hidden(chain: str, environ: Mapping[str, str]) -> str | None:
    """Say why this user can't see whether `chain` runs; None where it can.

    That is where its run directory is somebody else's, or it never ran as this user, and the units
    of systemd run it as somebody else.
    """
    place = RunDirectory.locate(chain, environ)
    if not os.path.lexists(place.path):
        units = RunDirectory(SYSTEM / chain)
        place = units if units.folder.hidden() else place
    reason = place.folder.hidden()
    return f"can't see chain {chain}: {reason}" if reason else None


def list_known_chains(environ: Mapping[str, str]) -> list[str]:
    """Name the chains that have a run directory of this user, in alphabetical order."""
    parents = {place.parent for place in _places("any", environ)} | {SYSTEM}
    names = set()
    for parent in parents:
        for candidate in parent.glob("*/"):
            note = RunDirectory(candidate).read_note()  # None for somebody else's
            if note is None or not is_name(note.chain):
                continue
            if RunDirectory.locate(note.chain, environ).path == candidate:
                names.add(note.chain)
    return sorted(names)


def _places(chain: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield where the folder can be, the right place first. Others can't make any of them."""
    if parent := environ.get("ARROYO_RUN_DIR"):
        yield Path(parent).absolute() / chain
    if unit := environ.get("RUNTIME_DIRECTORY"):
        yield of_unit(unit, chain)
    if is_own(SYSTEM / chain):
        yield SYSTEM / chain
    # That of another user stays in the environment after `su`.
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

    There is one for each folder with a long name that this process has to do with.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    known = _descriptors.setdefault(folder, descriptor)
    if known != descriptor:
        if not os.path.sameopenfile(known, descriptor):
            os.dup2(descriptor, known, inheritable=False)  # the folder was made anew
        os.close(descriptor)
    return known
