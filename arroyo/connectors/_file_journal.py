"""`FileJournal`: which files were handed over, in which order, and which of them are finished.

A text file with a headline, to which lines are only added: ``+ NUMBER SIZE MTIME PATH`` before a
file is handed over, ``= NUMBER`` when it and all before it are finished, ``- NUMBER`` when it will
never be. A last line that is not whole was never acted on, and is left out. A file with other lines
is damaged, as after a power cut: it is set aside, and what can be read of it counts.

Numbers are the tokens of a listener, by which the source knows what comes again. So a journal
never gives out those of one that was lost or removed: it begins at a random number.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from arroyo.durable.replaced_file import replacing, set_aside, write_all
from arroyo.errors import UnavailableError

from ._settling import Stamp

REWRITE_LINES = 100_000
"""The file is written anew, without what is gone, when so many lines were added."""
_HEADLINE = "# files that a DirectoryListener has handed over\n"
_log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A file that was handed over: its number, and its stamp at that time."""

    number: int
    stamp: Stamp


class FileJournal:
    """What is known of the files of one directory; `finish` comes from another thread.

    Parameters
    ----------
    path
        The journal; None: nothing is kept.

    Raises
    ------
    UnavailableError
        It can't be read. Methods that write raise it too, and go on raising it: what stands in
        the file is right, and the next life begins there.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._next = self._finished = self._added = 0
        self._descriptor = -1
        self._failure: UnavailableError | None = None
        self.is_new = True
        """Whether there was no journal before."""
        if path is not None:
            self._read(path)

    @property
    def under_way(self) -> list[tuple[str, Entry]]:
        """Files that were handed over and are not finished, in the order of handing over."""
        with self._lock:
            return sorted(
                (item for item in self._entries.items() if item[1].number >= self._finished),
                key=lambda item: item[1].number,
            )

    def is_known(self, name: str, stamp: Stamp | None) -> bool:
        """Whether a file was handed over as it is now."""
        entry = self._entries.get(name)
        return entry is not None and entry.stamp == stamp

    def hand_over(self, name: str, stamp: Stamp) -> int:
        """Note that a file is going to be handed over; returns its number."""
        with self._lock:
            number = self._next
            self._next += 1
            if self._path is not None:
                self._add(_line(name, Entry(number, stamp)))
                self._entries[name] = Entry(number, stamp)
            return number

    def ignore(self, name: str, stamp: Stamp | None) -> None:
        """Note that a file, if it is one, is none of ours."""
        if stamp is not None:
            self.finish(self.hand_over(name, stamp))

    def finish(self, number: int) -> None:
        """Note that a file, and all with lesser numbers, is finished."""
        with self._lock:
            if self._path is not None and number >= self._finished:
                self._add(f"= {number}\n")
                self._finished = number + 1

    def drop(self, name: str) -> None:
        """Note that a file that was handed over is gone, and can't be handed over again."""
        with self._lock:
            entry = self._entries.pop(name, None)
            if entry is not None:
                self._add(f"- {entry.number}\n")

    def forget(self, present: Iterable[str]) -> None:
        """Leave out what is finished and not among the files that are `present`.

        To be called before anything is written, and often: it rewrites the journal now and then.
        """
        if self._path is None or (self._descriptor >= 0 and self._added < REWRITE_LINES):
            return
        kept = set(present)
        with self._lock:
            self._entries = {
                name: entry
                for name, entry in self._entries.items()
                if name in kept or entry.number >= self._finished
            }
            self._rewrite(self._path)

    def close(self) -> None:
        """Close the file; it stays for the next life."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            self._next = self._finished = _far_from_others()
            return
        except OSError as error:
            raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
        self.is_new = False
        *lines, rest = content.split(b"\n")
        # All of them, though one is broken: each that can be read is true.
        whole = [self._take(os.fsdecode(line)) for line in lines]
        if not lines or b"\0" in rest or not all(whole):
            self._set_aside(path)

    def _set_aside(self, path: Path) -> None:
        # Beyond what may have stood in the lines that are lost.
        self._next += _far_from_others()
        try:
            aside = set_aside(path)
        except OSError as error:
            raise self._unavailable(error) from error
        _log.warning(
            "the journal %s is damaged, as after a power cut, and is now %s: of %d files it can "
            "still be read that they were handed over, others may be handed over again",
            path,
            aside.name,
            len(self._entries),
        )

    def _take(self, line: str) -> bool:
        """Take up a line; return whether it is one."""
        if f"{line}\n" == _HEADLINE:
            return True
        sign, *fields = line.split(" ", 4)
        try:
            number = int(fields[0])
            if sign == "+":
                size_bytes, mtime_ns = map(int, fields[1:3])
                name = _unescape(fields[3])
                self._entries[name] = Entry(number, Stamp(size_bytes, mtime_ns))
            elif sign == "=":
                self._finished = max(self._finished, number + 1)
            else:
                dropped = (name for name, entry in self._entries.items() if entry.number == number)
                self._entries.pop(next(dropped, ""), None)
            self._next = max(self._next, number + 1)
        except (ValueError, IndexError):
            return False
        return True

    def _rewrite(self, path: Path) -> None:
        entries = sorted(self._entries.items(), key=lambda item: item[1].number)
        lines = [_HEADLINE, *(_line(name, entry) for name, entry in entries)]
        if self._finished:
            lines.append(f"= {self._finished - 1}\n")
        try:
            with replacing(path) as descriptor:
                write_all(descriptor, os.fsencode("".join(lines)))
        except OSError as error:
            raise self._unavailable(error) from error
        self.close()
        self._descriptor, self._added = descriptor, 0

    def _add(self, line: str) -> None:
        if self._path is None:
            return
        if self._failure is not None:
            # Behind half a line nothing can be added.
            raise self._failure
        data = os.fsencode(line)
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self._failure = self._unavailable(error)
            raise self._failure from error
        self._added += 1

    def _unavailable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"{self._path} can't be written: {error.strerror}; make room on its disk, and the "
            "listener goes on where it was"
        )


def _far_from_others() -> int:
    """Return a number to count from that, as good as surely, no other journal comes near to."""
    return int.from_bytes(os.urandom(6)) | 1 << 47


def _line(name: str, entry: Entry) -> str:
    size_bytes, mtime_ns = entry.stamp
    return f"+ {entry.number} {size_bytes} {mtime_ns} {_escape(name)}\n"


def _escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace("\n", "\\n")


def _unescape(text: str) -> str:
    return "\\".join(piece.replace("\\n", "\n") for piece in text.split("\\\\"))
