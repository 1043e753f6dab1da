"""`FileJournal`: which files were handed over, in which order, and which of them are finished.

An entry is written before a file is handed over, when it and all before it are finished, and when
it turns out that it never will be. A damaged log, as after a power cut, is set aside; what can be
read of it counts.

The numbers are the listener's tokens, by which the source recognises repeats. So a journal must not
reuse the numbers of one that was lost or removed: it begins at a random number.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from arroyo.durable.append_log import AppendLog
from arroyo.durable.frames import FileKind
from arroyo.durable.replaced_file import set_aside
from arroyo.errors import UnavailableError

from .complete_files import Stamp

FORGET_BYTES = 4 * 1024 * 1024

_KIND = FileKind(b"FILE", 1)
_log = logging.getLogger(__name__)


_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
"""Less than the format can hold: after damage there is room to count on."""


class FileEntry(NamedTuple):
    """A file that was handed over: its number, and its stamp at that time."""

    number: _Number
    stamp: Stamp


class _HandedOver(msgspec.Struct, frozen=True, array_like=True, tag=1):
    name: bytes
    entry: FileEntry


class _Finished(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """All files up to this number are finished."""

    number: _Number


class _Dropped(msgspec.Struct, frozen=True, array_like=True, tag=3):
    name: bytes


_Note: TypeAlias = _HandedOver | _Finished | _Dropped


class _Files(msgspec.Struct, array_like=True):
    """All that is known of the files, by name in the file system's encoding."""

    entries: dict[bytes, FileEntry] = {}
    next: _Number = 0
    """The next file's number."""
    finished: _Number = 0
    """All files with smaller numbers are finished."""

    def apply(self, note: _Note) -> None:
        if isinstance(note, _HandedOver):
            self.entries[note.name] = note.entry
            if note.entry.number >= self.next:
                self.next = note.entry.number + 1
        elif isinstance(note, _Finished):
            if note.number >= self.finished:
                self.finished = note.number + 1
        else:
            self.entries.pop(note.name, None)


class FileJournal:
    """The journal of one directory. `finish` may be called from another thread.

    `path`: the file; None: nothing is kept.
    `forget_bytes`: it is rewritten without vanished files when so much was added to it.

    UnavailableError: it can't be read. Methods that write raise it too, and go on raising it: the
    file is right as it is, and the next process begins there.
    """

    def __init__(self, path: Path | None, forget_bytes: int = FORGET_BYTES) -> None:
        self._path = path
        self._forget_bytes = forget_bytes
        self._lock = threading.Lock()
        self._begun = False
        self._log: AppendLog[_Files] | None = None
        self._files = _Files()
        self.is_new = True
        """Whether there was no journal."""
        if path is not None:
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            self._log = AppendLog(
                path,
                _KIND,
                _Files,
                _Note,
                empty=lambda: _Files(next=(far := _far_from_others()), finished=far),
                sync=True,
                compact_bytes=2 * self._forget_bytes,
            )
        except OSError as error:
            raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
        self._files, self.is_new = self._log.state, self._log.is_new
        if self._log.damaged:
            self._set_aside(path)

    def _set_aside(self, path: Path) -> None:
        # Beyond all numbers that may be lost.
        self._files.next += _far_from_others()
        try:
            aside = set_aside(path)
        except OSError as error:
            raise self._unavailable(error) from error
        _log.warning(
            "the journal %s is damaged, as after a power cut, and is now %s; %d files in it can "
            "still be read, others may be reported again",
            path,
            aside.name,
            len(self._files.entries),
        )

    @property
    def in_flight(self) -> list[tuple[str, FileEntry]]:
        """Files that were handed over and are not finished, in that order."""
        with self._lock:
            return sorted(
                (
                    (os.fsdecode(name), entry)
                    for name, entry in self._files.entries.items()
                    if entry.number >= self._files.finished
                ),
                key=lambda item: item[1].number,
            )

    def is_known(self, name: str, stamp: Stamp | None) -> bool:
        """Return True if a file was handed over as it is now."""
        entry = self._files.entries.get(os.fsencode(name))
        return entry is not None and entry.stamp == stamp

    def hand_over(self, name: str, stamp: Stamp) -> int:
        """Note that a file will be handed over; return its number."""
        with self._lock:
            number = self._files.next
            self._files.next = number + 1
            self._note(_HandedOver(os.fsencode(name), FileEntry(number, stamp)))
            return number

    def ignore(self, name: str, stamp: Stamp | None) -> None:
        """Note that a file is not to be reported; `stamp` is None if it is no file."""
        if stamp is not None:
            self.finish(self.hand_over(name, stamp))

    def finish(self, number: int) -> None:
        """Note that a file, and all with smaller numbers, are finished."""
        with self._lock:
            if number >= self._files.finished:
                self._note(_Finished(number))

    def drop(self, name: str) -> None:
        """Note that a file that was handed over is gone and can't be handed over again."""
        with self._lock:
            if os.fsencode(name) in self._files.entries:
                self._note(_Dropped(os.fsencode(name)))

    def _note(self, note: _Note) -> None:
        if self._log is None:
            return
        try:
            self._log.append(note)
        except OSError as error:
            raise self._unavailable(error) from error

    def forget(self, present: Iterable[str]) -> None:
        """Drop finished files that are not `present`, at the first call and then now and then."""
        if self._log is None or (self._begun and self._log.added_bytes < self._forget_bytes):
            return
        kept = set(map(os.fsencode, present))
        with self._lock:
            files = self._files
            files.entries = {
                name: entry
                for name, entry in files.entries.items()
                if name in kept or entry.number >= files.finished
            }
            try:
                self._log.compact()
            except OSError as error:
                raise self._unavailable(error) from error
            self._begun = True

    def close(self) -> None:
        """Close the file; it stays for the next process."""
        if self._log is not None:
            self._log.close()

    def _unavailable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"{self._path} can't be written: {error.strerror}; make room on its disk, and the "
            "listener goes on where it was"
        )


def _far_from_others() -> int:
    """Return a random number that, almost certainly, no other journal comes near to."""
    return int.from_bytes(os.urandom(6)) | 1 << 47
