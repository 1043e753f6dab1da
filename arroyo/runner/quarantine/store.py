"""`Quarantine`: messages that a chain goes on without, as files that outlive it.

Rules:
- An entry is ``ID.msg``, the message, and ``ID.json``, all about it, for people as well. It is
  there once the second one is; each is replaced whole. Private: 0600, in a folder of 0700.
- The same message at the same stage is the same entry, however often it is quarantined.
- Whoever wants an entry back moves its ``ID.json`` to ``requeue/``; the source that it came from
  sends it from there, and removes it when it is finished.
- ``runs/`` keeps Start and Stop of their runs; see `quarantined_runs`.
- It is bounded, and nothing falls out of it: when it is full, messages stay in the chain.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from arroyo.config.state_directory import StateDirectory
from arroyo.durable.frames import UNREADABLE
from arroyo.durable.replaced_file import replace_file
from arroyo.errors import ConfigurationError, UnavailableError, UsageError
from arroyo.identifiers import digest
from arroyo.messages import Fragment, Origin

from .quarantined_runs import QuarantinedRuns, locked, message_file

ENTRIES_MAX = 1000
BYTES_MAX = 1 << 30
NEARLY_FULL = (0.5, 0.9)
"""Parts of this room at which people are warned."""


class QuarantineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a message in quarantine, but the message."""

    id: str
    time: float
    """When it was quarantined, in s since 1970."""
    chain: str
    stage: str
    """Where it failed."""
    replica: int
    source: str
    """Its source, ``STAGE.R``."""
    run: str
    epoch: int
    sequence: int
    """Its place in the run, as in `Origin.sequence`."""
    fragment: Fragment = ()
    key: str
    type: str
    """Class of the message; empty: frames that could not be read."""
    reason: str
    stack: str = ""
    attempts: int
    """How often it was tried, or how many processes it has ended."""
    path: int = 0
    """Number of the way by which it came to the stage, as in `Origin.path`."""
    enters: str
    """Stage that it was on its way into; that of its source: it is as that had sent it."""


class Fill(NamedTuple):
    """How full a quarantine is."""

    messages: int
    bytes: int

    @property
    def share(self) -> float:
        """Part of its room that is used, of 1; the scarcer of both counts."""
        return max(self.messages / ENTRIES_MAX, self.bytes / BYTES_MAX)


def _run_of(entry: QuarantineEntry) -> tuple[str, str, str]:
    return entry.stage, entry.source, entry.run


def entry_id(stage: str, origin: Origin, control: str = "") -> str:
    """Name the entry of a message at a stage; `control`: it is a start or stop."""
    return digest(repr((stage, *origin, control) if control else (stage, *origin)).encode())


class Quarantine:
    """The quarantine of one chain; any process of its user may open it at any time.

    `folder`: see `StateDirectory.quarantine`; it is made when the first message comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._requeue = folder / "requeue"
        self.runs = QuarantinedRuns(folder / "runs")

    def put(self, entry: QuarantineEntry, message: bytes, start: bytes = b"") -> Fill:
        """Keep a message; when this returns, it survives a power cut.

        `start` is the packed Start of its run. Returns how full the quarantine is.

        UnavailableError: there is no room for it, or it can't be written.
        """
        StateDirectory(self._folder.parent).create()  # a chain in one process has made none yet
        try:
            for folder in (self._folder, self._requeue):
                folder.mkdir(mode=0o700, exist_ok=True)
            with locked(self._folder):
                fill = self._require_room(entry, len(message))
                message_file(self._message(entry.id)).write(message)
                self.runs.add(*_run_of(entry), entry.id, start)
                replace_file(self._listed(entry.id), msgspec.json.encode(entry))
                # Quarantined again: whoever had asked for it before has not got it.
                self._requeued(entry.id).unlink(missing_ok=True)
            return fill
        except OSError as error:
            raise UnavailableError(
                f"a message can't be put into quarantine in {self._folder}: {error.strerror}; "
                "make room there, or set ARROYO_STATE_DIR to another folder"
            ) from error

    def fill(self) -> Fill:
        """Return how full it is."""
        sizes = self._sizes()
        return Fill(len(sizes), sum(sizes.values()))

    def _sizes(self) -> dict[str, int]:
        sizes = {}
        for path in self._folder.glob("*.msg"):
            with contextlib.suppress(FileNotFoundError):  # somebody drops messages meanwhile
                sizes[path.name] = path.stat().st_size
        return sizes

    def _require_room(self, entry: QuarantineEntry, message_bytes: int) -> Fill:
        """Return how full it is with one more message."""
        sizes = self._sizes()
        sizes.pop(self._message(entry.id).name, None)
        total_bytes = sum(sizes.values()) + message_bytes
        if len(sizes) >= ENTRIES_MAX or total_bytes > BYTES_MAX:
            raise UnavailableError(
                f"the quarantine in {self._folder} is full: {len(sizes)} messages, "
                f"{total_bytes >> 20} MiB with this one, expected at most {ENTRIES_MAX} messages "
                f"and {BYTES_MAX >> 20} MiB; look at 'arroyo quarantine list {entry.chain}', and "
                "requeue or drop what is there"
            )
        return Fill(len(sizes) + 1, total_bytes)

    def count(self) -> int:
        """Return how many messages wait here."""
        return sum(1 for _ in self._folder.glob("*.json"))

    def count_requeued(self) -> int:
        """Return how many messages are on their way back."""
        return sum(1 for _ in self._requeue.glob("*.json"))

    def entries(self) -> list[QuarantineEntry]:
        """Return what waits here, oldest first; what is on its way back is left out.

        ConfigurationError: there is one that says nothing; so for all methods that read.
        """
        return self._read_all(self._folder)

    def of_stage(self, stage: str) -> list[QuarantineEntry]:
        """Return what waits here since this stage failed on it, oldest first.

        UsageError: there is nothing, or all of it is on its way back.
        """
        if found := [entry for entry in self.entries() if entry.stage == stage]:
            return found
        back = sum(entry.stage == stage for entry in self.requeued())
        if back:
            raise UsageError(
                f"the messages of stage {stage} are all on their way back ({back}); name their IDs"
            )
        raise UsageError(f"there is no message of a stage {stage!r} in quarantine")

    def requeued(self, source: str | None = None) -> list[QuarantineEntry]:
        """Return what is on its way back, oldest first; with `source`, only what it has to send."""
        found = self._read_all(self._requeue)
        return [entry for entry in found if source in (None, entry.source)]

    def find(self, number: str) -> QuarantineEntry:
        """Return one entry, wherever it is.

        UsageError: there is none of this ID.
        """
        for path in (self._listed(number), self._requeued(number)):
            entry = _read(path)
            if entry is not None:
                return entry
        raise UsageError(f"there is no message {number!r} in quarantine in {self._folder}")

    def message(self, number: str) -> bytes:
        """Return the message of an entry, as `MessageCodec.pack` made it.

        UnavailableError: it can't be read.
        """
        path = self._message(number)
        try:
            message = message_file(path).read()
        except OSError as error:
            raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
        if message is None:
            raise UnavailableError(f"{path} is gone or damaged: the message can only be dropped")
        return message

    def requeue(self, number: str) -> None:
        """Have an entry sent again by its source."""
        self._move(self._listed(number), self._requeued(number))

    def take_back(self, number: str) -> None:
        """Undo `requeue`: it can't be sent."""
        self._move(self._requeued(number), self._listed(number))

    def drop(self, number: str) -> None:
        """Forget an entry for good."""
        entry = _read(self._listed(number)) or _read(self._requeued(number))
        self._listed(number).unlink(missing_ok=True)
        self._forget(number, entry, returned=False)

    def finish(self, number: str) -> None:
        """An entry that was on its way back has arrived, if it isn't here again."""
        self._forget(number, _read(self._requeued(number)), returned=True)

    def _forget(self, number: str, entry: QuarantineEntry | None, *, returned: bool) -> None:
        self._requeued(number).unlink(missing_ok=True)
        if self._listed(number).exists():
            return
        self._message(number).unlink(missing_ok=True)
        if entry is not None:
            with contextlib.suppress(OSError):  # what is left of its run does no harm
                self.runs.remove(*_run_of(entry), number, returned=returned)

    def _move(self, before: Path, after: Path) -> None:
        try:
            before.replace(after)
        except FileNotFoundError:
            self.find(before.stem)  # it may be there already, or be unknown
        except OSError as error:
            raise UnavailableError(f"{before} can't be moved: {error.strerror}") from error

    def _message(self, number: str) -> Path:
        return self._folder / f"{number}.msg"

    def _listed(self, number: str) -> Path:
        return self._folder / f"{number}.json"

    def _requeued(self, number: str) -> Path:
        return self._requeue / f"{number}.json"

    @staticmethod
    def _read_all(folder: Path) -> list[QuarantineEntry]:
        found = filter(None, map(_read, folder.glob("*.json")))
        return sorted(found, key=lambda entry: (entry.time, entry.sequence, entry.id))


def outline(message: bytes) -> dict[str, Any]:
    """Describe a packed message without its class, which only the chain's code has.

    Metadata, size of the payload in bytes, dtype and shape of an Event; the fields of another
    message; the sizes of frames that could not be read.
    """
    try:
        decoded = msgspec.msgpack.decode(message)
    except (*UNREADABLE, TypeError):
        decoded = None
    match decoded:
        case ["Event", dict(metadata), bytes(payload), str(dtype), list(shape)]:
            return {
                "metadata": metadata,
                "payload_bytes": len(payload),
                "dtype": dtype,
                "shape": shape,
            }
        case [str(), *fields]:
            return {"fields": fields}
        case [*frames] if frames and all(isinstance(frame, bytes) for frame in frames):
            return {"frame_bytes": list(map(len, frames))}
    return {"bytes": len(message)}  # of another version, or of somebody who means no good


def _read(path: Path) -> QuarantineEntry | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=QuarantineEntry)
    except OSError:
        return None
    except UNREADABLE as error:
        raise ConfigurationError(
            f"{path} says nothing of its message ({error}): it is damaged, or of another version "
            "of Arroyo; look at it with that one, or move the file away to go on without it"
        ) from error
