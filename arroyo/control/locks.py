"""The lock that a replica or a supervisor holds for as long as it lives.

It is a record lock of the kernel: it ends with its process, however that dies, and tells the pid of
its holder. So there is no stale lock, and no pid in a file to trust. The kernel drops the lock as
soon as its process closes *any* descriptor of the file, so a file that this process has locked is
never opened again here; `_held` lists them.
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
        """Take the lock at `path` without waiting. The file is made where missing, and stays.

        AlreadyRunningError: it is held, by this process or by another one.
        ConfigurationError: the file can't be made or locked.
        UnavailableError: the same, for a reason that may pass, such as a full disk.
        """
        while True:
            if (pid := owner(path)) is not None:
                raise AlreadyRunningError(
                    f"{path.name} is already running as pid {pid}; "
                    f"stop that one first (it holds {path})"
                )
            with contextlib.suppress(BlockingIOError):  # another process was faster
                return cls(path, open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB))

    @property
    def is_in_place(self) -> bool:
        """Whether the file is still at its path: it may have been removed."""
        try:
            return _identity(self.path.stat()) == self._file
        except OSError:
            return False

    @property
    def descriptor(self) -> int:
        """Descriptor of the file, to read and write it, until `release`."""
        assert self._descriptor is not None
        return self._descriptor

    def note(self, text: str) -> None:
        """Write a short text into the file, for processes that find the lock held."""
        with contextlib.suppress(OSError):  # a full disk takes no note, but the lock holds
            if self._descriptor is not None:
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Release the lock. Does nothing if it was released before."""
        if self._descriptor is not None:
            _held.discard(self._file)
            os.close(self._descriptor)
            self._descriptor = None


def owner(path: Path) -> int | None:
    """Return the pid of the process that holds the lock at `path`; None where it is free.

    It is 0 where the holder is in another pid namespace (another container).

    ConfigurationError: the file exists but can't be read.
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


def open_locked(path: Path, how: int = fcntl.LOCK_EX) -> int:
    """Open a file, which is made where missing, lock it, and return its descriptor.

    `how`: with ``fcntl.LOCK_NB``, BlockingIOError says that another process has it locked.

    ConfigurationError, UnavailableError: as `Lock.acquire`.
    """
    with contextlib.ExitStack() as failing:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            failing.callback(os.close, descriptor)
            fcntl.lockf(descriptor, how)
        except BlockingIOError:
            raise
        except OSError as error:
            raise _unusable(path, error) from error
        failing.pop_all()
    return descriptor


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _unusable(path: Path, error: OSError) -> ArroyoError:
    return fault_of(error)(
        f"the lock file {path} can't be used: {error.strerror}; "
        "the run directory must be a local folder of your own (set ARROYO_RUN_DIR)"
    )
