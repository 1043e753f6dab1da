"""The lock that a running replica, or a supervisor, holds for as long as it lives.

A record lock of the kernel: it goes with its process however that one dies, and tells who holds
it, so there is no stale lock and no number in a file to be believed. The kernel drops it as soon
as its process closes *any* descriptor of the file. So a file that this process holds is never
opened again here; `_held` knows them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path

from arroyo.errors import AlreadyRunningError, ArroyoError, fault_of

# struct flock of Linux: l_type, l_whence, l_start, l_len, l_pid, closed to 8 bytes.
_FLOCK = struct.Struct("hhqqi4x")

# (device, inode) of every lock file that this process holds.
_held: set[tuple[int, int]] = set()


class Lock:
    """A lock held by this process; `acquire` makes one."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        self._file = _identity(os.fstat(descriptor))
        _held.add(self._file)

    @classmethod
    def acquire(cls, path: Path) -> Lock:
        """Take the lock at `path` without waiting; the file is made where missing, and stays.

        Raises
        ------
        AlreadyRunningError
            Another holder lives, in this process or in another one.
        ConfigurationError
            The file can't be made or locked.
        UnavailableError
            The same, but it may pass, as a full disk does.
        """
        while True:
            if (pid := owner(path)) is not None:
                raise AlreadyRunningError(
                    f"{path.name} is already running as pid {pid}; "
                    f"stop that one first (it holds {path})"
                )
            if (descriptor := _try_lock(path)) is not None:
                return cls(path, descriptor)

    @property
    def is_in_place(self) -> bool:
        """Whether others find it at its path: the file may have been removed under its holder."""
        try:
            return _identity(self.path.stat()) == self._file
        except OSError:
            return False

    def note(self, text: str) -> None:
        """Leave a short text in the file, for whoever finds the lock held."""
        with contextlib.suppress(OSError):  # without room there is none, and the lock holds
            if self._descriptor is not None:
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Let the next one have it; once released, it does nothing."""
        if self._descriptor is not None:
            _held.discard(self._file)
            os.close(self._descriptor)
            self._descriptor = None


def owner(path: Path) -> int | None:
    """Pid of the process that holds the lock at `path`, None where nobody does.

    It is 0 where the holder lives in another pid namespace (another container).

    Raises
    ------
    ConfigurationError
        The file is there but can't be read.
    """
    try:
        if _identity(path.stat()) in _held:
            return os.getpid()
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, wanted))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else pid


def _try_lock(path: Path) -> int | None:
    """Lock the file and return its descriptor; None where somebody else was faster."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise _unusable(path, error) from error
    return descriptor


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _unusable(path: Path, error: OSError) -> ArroyoError:
    return fault_of(error)(
        f"the lock file {path} can't be used: {error.strerror}; "
        "the run directory must be a local folder of your own (set ARROYO_RUN_DIR)"
    )
