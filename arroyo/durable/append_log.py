"""`AppendLog`: a state in a file, to which each change is appended.

The first frame of the file is a snapshot of the state. Each further frame is an entry, appended by
a single write. Rules:

- An entry is in the file before it is in the state, so it is found again after `kill -9`. Only
  snapshots are forced to the disk: a power cut may take the last entries, but no earlier ones.
- A process never appends to the file of the process before. It begins a new file with a snapshot,
  so nothing is written behind a frame that a death has torn off.
- The same compaction replaces a file that has grown. If it fails, that is no error: the old file is
  still right.
- After an entry that could not be written, no other is written: a reader stops at half a frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from .frames import UNREADABLE, FileKind, pack_frame, unpack_file
from .replaced_file import begin_file, read_file, write_all

COMPACT_BYTES = 1024 * 1024


class LogState(Protocol):
    """A struct that its entries change."""

    def apply(self, entry: Any, /) -> None:
        """Apply one more entry."""


S = TypeVar("S", bound=LogState)
_encode = msgspec.msgpack.Encoder().encode


class AppendLog(Generic[S]):
    """A log with one writer. Called from one thread at a time.

    Parameters
    ----------
    empty
        Makes the state where there is no file, or no readable one.
    compact_bytes
        A snapshot replaces this many bytes of entries.

    Raises
    ------
    OSError
        The file can't be read; for all methods that write: it can't be written.
    ConfigurationError
        It was written by another version of Arroyo.
    """

    def __init__(
        self,
        path: Path,
        kind: FileKind,
        state: type[S],
        entry: Any,
        *,
        empty: Callable[[], S],
        sync: bool,
        compact_bytes: int = COMPACT_BYTES,
    ) -> None:
        self._path, self._kind, self._sync = path, kind, sync
        self._compact_bytes = compact_bytes
        self._descriptor = -1
        self._failure: OSError | None = None
        self.added_bytes = 0
        """Bytes appended since the last snapshot."""
        content = read_file(path)
        self.is_new = content is None
        """Whether there was no file."""
        self.damaged = False
        """Whether the file is broken in another way than by a death within an entry."""
        known = None if content is None else self._read(content, state, entry)
        self.is_lost = known is None and not self.is_new
        """Whether there was a file, but nothing in it could be read."""
        self.state = empty() if known is None else known
        """What the file says in all."""

    def _read(self, content: bytes, state: type[S], entry: Any) -> S | None:
        found = unpack_file(content, self._kind, self._path)
        self.damaged = found.damaged
        decode = msgspec.msgpack.Decoder(entry).decode
        known: S | None = None
        try:
            snapshot, *entries = found.bodies
            known = msgspec.msgpack.decode(snapshot, type=state)
            for body in entries:
                known.apply(decode(body))
        except UNREADABLE:
            self.damaged = True
        return known

    def append(self, entry: Any) -> None:
        """Add an entry to the file, then to the state."""
        if self._descriptor < 0:
            self.compact()
        frame = pack_frame(_encode(entry))
        try:
            write_all(self._descriptor, frame)
        except OSError as error:
            self._fail(error)
            raise
        self.state.apply(entry)
        self.added_bytes += len(frame)
        if self.added_bytes >= self._compact_bytes:
            self.compact()

    def compact(self) -> None:
        """Replace the file by one with a snapshot of the state."""
        if self._failure is not None:
            raise self._failure
        content = self._kind.head + pack_frame(_encode(self.state))
        try:
            descriptor = begin_file(self._path, content, sync=self._sync)
        except OSError as error:
            if self._descriptor < 0:
                raise
            if os.fstat(self._descriptor).st_nlink == 0:
                # The new file is in place, but its folder could not be forced to the disk. Entries
                # appended to the old file would be lost.
                self._fail(error)
                raise
        else:
            self.close()
            self._descriptor = descriptor
        self.added_bytes = 0

    def _fail(self, error: OSError) -> None:
        """Write nothing more."""
        self._failure = error
        self.close()

    def close(self) -> None:
        """Close the file; it stays for the next life."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
