"""`Recording`: messages in a file, in the order in which they were seen; see RECORDING.md.

A frame for each message is appended by a single write, so the death of the writer leaves whole
messages and at most a part of the last one.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from .frames import FileKind, pack_frame
from .replaced_file import write_all

RECORDING = FileKind(b"RECD", 1)
_encode = msgspec.msgpack.Encoder().encode


class RecordingHead(msgspec.Struct, array_like=True, frozen=True):
    """The first frame: where the messages come from."""

    chain: str
    stage: str
    """Stage or replica at which they were seen."""
    time: float
    """When it began, in s since 1970."""


class RecordedMessage(msgspec.Struct, array_like=True, frozen=True):
    """Each further frame: one message."""

    time: float
    """When it was seen, in s since 1970."""
    replica: str
    """Where, as ``STAGE.R``."""
    header: bytes
    """Its `Batch` record, as if it had travelled alone (PROTOCOL.md)."""
    message: bytes
    """As `MessageCodec.pack` encodes it: in one piece, with its payload."""


class Recording:
    """A new recording, for this user alone.

    OSError: it can't be written, and there is none; or FileExistsError: the file exists.
    """

    def __init__(self, path: Path, head: RecordingHead) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._path = path
        self._descriptor = os.open(path, flags, 0o600)
        with contextlib.ExitStack() as failing:
            failing.callback(path.unlink, missing_ok=True)
            failing.callback(self.close)
            self._write(RECORDING.head + pack_frame(_encode(head)))
            failing.pop_all()

    def append(self, message: RecordedMessage) -> None:
        """Add a message; OSError: it can't be written."""
        self._write(pack_frame(_encode(message)))

    def _write(self, content: bytes) -> None:
        try:
            write_all(self._descriptor, content)
        except OSError as error:
            error.filename = os.fspath(self._path)  # for people, who may have several disks
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
