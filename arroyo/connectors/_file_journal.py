"""`FileJournal`: which files were handed over, in which order, and which of them are finished.

A text file of lines that are only added: ``+ NUMBER SIZE MTIME PATH`` before a file is handed
over, ``= NUMBER`` when it and all before it are finished, ``- NUMBER`` when it will never be. A
last line that is not whole was never acted on, and is left out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from arroyo.errors import UnavailableError

from ._settling import Stamp

REWRITE_LINES = 100_000
"""The file is written anew, without what is gone, when so many lines were added."""


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
            return
        except OSError as error:
            raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
        self.is_new = False
        for line in content.split(b"\n")[:-1]:
            self._take(os.fsdecode(line))

    def _take(self, line: str) -> None:
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
            return  # no line of ours

    def _rewrite(self, path: Path) -> None:
        draft = path.with_suffix(".draft")
        entries = sorted(self._entries.items(), key=lambda item: item[1].number)
        lines = [_line(name, entry) for name, entry in entries]
        if self._finished:
            lines.append(f"= {self._finished - 1}\n")
        try:
            draft.write_bytes(os.fsencode("".join(lines)))
            descriptor = os.open(draft, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            draft.replace(path)
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
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self._failure = self._unavailable(error)
            raise self._failure from error
        self._added += 1

    def _unavailable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"{self._path} can't be written: {error.strerror}; make room on its disk, and the "
            "listener goes on where it was"
        )


def _line(name: str, entry: Entry) -> str:
    size_bytes, mtime_ns = entry.stamp
    return f"+ {entry.number} {size_bytes} {mtime_ns} {_escape(name)}\n"


def _escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace("\n", "\\n")


def _unescape(text: str) -> str:
    return "\\".join(piece.replace("\\n", "\n") for piece in text.split("\\\\"))
