"""A file that is replaced whole: after any crash there is the old content or the new one.

The new content is on the disk before it takes the old one's place. Without that, a power cut can
leave a file with the right name and no content, or with zeros.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Replace the content of a file, or make it, for this user alone.

    Raises
    ------
    OSError
        It can't be written; the old content stands.
    """
    with replacing(path) as descriptor:
        write_all(descriptor, content)
    os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[int]:
    """Give a descriptor of a new file, which takes the place of `path` at the end of the block.

    The descriptor is closed only where the block raises, so that one can go on writing to it.
    """
    draft = path.with_name(f"{path.name}.draft")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    try:
        yield descriptor
        os.fsync(descriptor)
        draft.replace(path)
        sync_folder(path.parent)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


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
