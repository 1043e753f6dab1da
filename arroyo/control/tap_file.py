"""`TapFile`: how a command gets a copy of a message that passes through a running stage.

::

    file    = wanted u64 | given u64 | sample          in the byte order of the machine
    sample  = lengths | header | message | payload
    lengths = those of header, message and payload, and the size of the payload, u64 each

The command makes the file in the chain's private directory and holds its lock for as long as it
looks. It asks by a number in `wanted`; the stage writes a sample, then the same number in `given`.
So the stage never waits and never has anything to send: a command that is slow, stopped or dead
asks for nothing, and gets nothing. One command at a time looks at a replica.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from pathlib import Path
from typing import NamedTuple

from arroyo.codec import Buffer
from arroyo.errors import AlreadyRunningError, ArroyoError

from .locks import Lock, owner

_WORD = struct.Struct("=Q")
_WORDS = struct.Struct("=QQ")
_LENGTHS = struct.Struct("=QQQQ")


class Sample(NamedTuple):
    """One message as it travels, with the header of that message alone."""

    header: bytes
    """A `Batch` record."""
    message: Buffer
    """The encoded message; a payload beside it is empty in it."""
    payload: Buffer = b""
    """A payload beside the message, as far as it was copied."""
    payload_bytes: int = 0
    """Size of a payload beside the message."""


class TapFile:
    """The end of the command that looks.

    AlreadyRunningError: another command looks at this replica.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._lock = Lock.acquire(path)
        except AlreadyRunningError as error:
            raise AlreadyRunningError(
                f"another command (pid {owner(path)}) looks at {path.name}; one at a time can"
            ) from error
        self._wanted = 0
        self.waits = False
        """Whether it has asked and got nothing yet."""
        os.ftruncate(self._lock.descriptor, 0)

    def ask(self) -> None:
        """Ask for one of the next messages."""
        self._wanted += 1
        self.waits = True
        self._write_wanted()

    def take(self) -> Sample | None:
        """Return what was asked for, once it is there."""
        descriptor = self._lock.descriptor
        if _read_words(descriptor) != (self._wanted, self._wanted):
            self._write_wanted()  # a stage may have cleared a file that a command had left
            return None
        self.waits = False
        lengths = os.pread(descriptor, _LENGTHS.size, _WORDS.size)
        header, message, payload, payload_bytes = _LENGTHS.unpack(lengths)
        found = os.pread(descriptor, header + message + payload, _WORDS.size + _LENGTHS.size)
        end = header + message
        return Sample(found[:header], found[header:end], memoryview(found)[end:], payload_bytes)

    def _write_wanted(self) -> None:
        os.pwrite(self._lock.descriptor, _WORD.pack(self._wanted), 0)

    def close(self) -> None:
        """Look no more."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


class TappedFile:
    """The end of the stage. Nothing here raises but OSError."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def find(cls, path: Path) -> TappedFile | None:
        """Return the file, if somebody looks at this replica.

        OSError: it can't be used.
        """
        try:
            if not path.lstat().st_size:
                return None
        except FileNotFoundError:
            return None
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    @property
    def is_held(self) -> bool:
        """Whether the command that made it still looks."""
        try:
            in_place = os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
            return in_place and owner(self._path) is not None
        except (OSError, ArroyoError):
            return False

    @property
    def wanted(self) -> int:
        """Number of the message that is asked for; 0: none is.

        OSError: the file can't be read.
        """
        wanted, given = _read_words(self._descriptor)
        return 0 if wanted == given else wanted

    def give(self, number: int, sample: Sample) -> None:
        """Write what was asked for; without its payload, if there is no room for that.

        OSError: there is no room at all.
        """
        try:
            self._write(sample)
        except OSError as error:
            if error.errno != errno.ENOSPC or not sample.payload:
                raise
            self._write(sample._replace(payload=b""))
        os.pwrite(self._descriptor, _WORD.pack(number), _WORD.size)

    def _write(self, sample: Sample) -> None:
        parts = [sample.header, sample.message, sample.payload]
        lengths = [memoryview(part).nbytes for part in parts]
        pieces = [_LENGTHS.pack(*lengths, sample.payload_bytes), *parts]
        if os.pwritev(self._descriptor, pieces, _WORDS.size) < _LENGTHS.size + sum(lengths):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def clear(self) -> None:
        """Free the memory of a file whose command has died."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Close it; it belongs to the command."""
        os.close(self._descriptor)


def _read_words(descriptor: int) -> tuple[int, int]:
    words = os.pread(descriptor, _WORDS.size, 0).ljust(_WORDS.size, b"\0")
    wanted, given = _WORDS.unpack(words)
    return wanted, given
