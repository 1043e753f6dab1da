"""`ReplacedFile`: a file that is replaced whole.

The new content is written beside the old one, forced to the disk, and takes its place by a rename,
which is forced to the disk as well: after any crash there is the old content or the new one.
Without that, a power cut can leave a file with the right name and no content, or with zeros.
Where that is no loss, nothing is forced to the disk: `kill -9` still leaves the old or the new one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from .frames import UNREADABLE, Kind, pack_frame, unpack_file

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


class ReplacedFile(Generic[T]):
    """One value in a file, for this user alone.

    Parameters
    ----------
    path, kind
        The file, and what it holds.
    type
        Of the value.
    read_former
        Reads the content of a file that was written before there was this format; None: it says
        nothing. It may raise what is `UNREADABLE`.
    sync
        Whether it has to survive a power cut.
    writer
        Name of its draft, where several processes may write it at once.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind,
        type: Any,
        *,
        read_former: Callable[[bytes], T | None],
        sync: bool = False,
        writer: str = "draft",
    ) -> None:
        self._path, self._kind, self._type = path, kind, type
        self._read_former = read_former
        self._sync, self._writer = sync, writer

    def read(self) -> T | None:
        """Return the value; None where there is none, or it is broken.

        Raises
        ------
        OSError
            It can't be read.
        ConfigurationError
            It is of a version that this one doesn't know.
        """
        content = read_file(self._path)
        if content is None:
            return None
        found = unpack_file(content, self._kind, self._path)
        try:
            if found is None:
                return self._read_former(content)
            (body,) = found.bodies
            value: T = msgspec.msgpack.decode(body, type=self._type)
        except UNREADABLE:
            return None
        return value

    def write(self, value: T) -> None:
        """Replace the value; an OSError leaves the one before, unless it was the last step."""
        content = self._kind.head + pack_frame(_encode(value))
        replace_file(self._path, content, sync=self._sync, writer=self._writer)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self._path.unlink(missing_ok=True)


def read_file(path: Path) -> bytes | None:
    """Return the content of a file; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def replace_file(path: Path, content: bytes, *, sync: bool = True, writer: str = "draft") -> None:
    """Replace a file, or make it, for this user alone; errors as in `begin_file`."""
    os.close(begin_file(path, content, sync=sync, writer=writer))


def begin_file(path: Path, content: bytes, *, sync: bool, writer: str = "draft") -> int:
    """Replace a file, as `replace_file`; return a descriptor that adds to it.

    Raises
    ------
    OSError
        It can't be written. The old content stands, unless it was only the last step that failed,
        by which the new one is kept over a power cut.
    """
    draft = path.with_name(f"{path.name}.{writer}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    try:
        write_all(descriptor, content)
        if sync:
            os.fsync(descriptor)
        draft.replace(path)
        if sync:
            sync_folder(path.parent)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    return descriptor


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything, however many calls it takes."""
    while content:
        content = content[os.write(descriptor, content) :]


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Give a broken file a name of its own beside where it was, and return that.

    Raises
    ------
    OSError
        It can't be renamed.
    """
    count = 1
    while (aside := path.with_name(f"{path.name}.broken-{count}")).exists():
        count += 1
    path.replace(aside)
    return aside
