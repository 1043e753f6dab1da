"""`ReplacedFile`: a file that is replaced whole.

The new content is written beside the old one, forced to the disk, and renamed into its place; the
rename is forced to the disk as well. So after any crash there is the old content or the new one.
Without `sync` nothing is forced to the disk: then `kill -9` leaves one of the two as well, but a
power cut can leave a file without content, or with zeros.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from .frames import UNREADABLE, FileKind, pack_frame, unpack_file

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


class ReplacedFile(Generic[T]):
    """One value in a file, for this user alone.

    `sync`: whether it has to survive a power cut.
    """

    def __init__(self, path: Path, kind: FileKind, type: Any, *, sync: bool = False) -> None:
        self._path, self._kind, self._type, self._sync = path, kind, type, sync

    def read(self) -> T | None:
        """Return the value; None where there is none, or it is broken.

        OSError: it can't be read.
        ConfigurationError: it was written by another version of Arroyo.
        """
        content = read_file(self._path)
        if content is None:
            return None
        found = unpack_file(content, self._kind, self._path)
        try:
            (body,) = found.bodies
            value: T = msgspec.msgpack.decode(body, type=self._type)
        except UNREADABLE:
            return None
        return value

    def write(self, value: T) -> None:
        """Replace the value. An OSError leaves the old one, unless only the last step failed."""
        content = self._kind.head + pack_frame(_encode(value))
        replace_file(self._path, content, sync=self._sync)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self._path.unlink(missing_ok=True)


def read_file(path: Path) -> bytes | None:
    """Return the content of a file; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def replace_file(path: Path, content: bytes, *, sync: bool = True, mode: int = 0o600) -> None:
    """Replace a file, or make it; errors as in `begin_file`.

    `mode`: who may use it, as far as the umask allows; by default this user alone.
    """
    os.close(begin_file(path, content, sync=sync, mode=mode))


def begin_file(path: Path, content: bytes, *, sync: bool, mode: int = 0o600) -> int:
    """Replace a file, as `replace_file`; return a descriptor that adds to it.

    OSError: it can't be written. The old content stays, unless only the last step failed, which
    keeps the new content over a power cut.
    """
    draft = path.with_name(f"{path.name}.draft")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(draft, flags, mode)
    with contextlib.ExitStack() as failing:
        failing.callback(_unlink, draft)
        failing.callback(os.close, descriptor)
        write_all(descriptor, content)
        if sync:
            os.fsync(descriptor)
        draft.replace(path)
        if sync:
            sync_folder(path.parent)
        failing.pop_all()
    return descriptor


def _unlink(draft: Path) -> None:
    with contextlib.suppress(OSError):
        draft.unlink()


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything, however many calls it takes."""
    while content:
        content = content[os.write(descriptor, content) :]


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a broken file to a free name beside it, and return that.

    OSError: it can't be renamed.
    """
    count = 1
    while (aside := path.with_name(f"{path.name}.broken-{count}")).exists():
        count += 1
    path.replace(aside)
    return aside
