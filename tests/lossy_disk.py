"""A disk that forgets: what can be in its files after a crash, between any two system calls.

`LossyDisk` stands in for the functions of `os` that write. It does what it is asked, in a real
folder, notes it, and can be told to fail. Of what it has noted it makes up what is left:

- after `kill -9`: everything that was asked for;
- after a power cut: of the bytes that were not forced to the disk any part, in any order, and zeros
  for those that are missing before others; of the names in a folder, changes that were not forced
  to the disk are there or not, each whole. Folders themselves are there.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from types import SimpleNamespace

_real = SimpleNamespace(
    **{name: getattr(os, name) for name in ("open", "write", "fsync", "replace", "unlink", "close")}
)


class _File:
    def __init__(self):
        self.kept = b""
        self.writes = []
        self.spoilt = False
        """Forcing it to the disk has failed: what it lacked then never gets there."""

    @property
    def content(self):
        return self.kept + b"".join(self.writes)

    def after_power_cut(self, random):
        content = bytearray(self.kept)
        for piece in self.writes:
            whole = random.choice([0, random.randint(0, len(piece)), len(piece)])
            content += piece[:whole] + bytes(len(piece) - whole)
        length = random.choice([random.randint(len(self.kept), len(content)), len(content)])
        return bytes(content[:length])


class LossyDisk:
    """A disk of `room_bytes`, whose calls count from 0.

    Parameters
    ----------
    folder
        Where the files really are; it is empty.
    at_crash_point
        Called between any two calls, and in the midst of each that writes.
    fail_at
        This call fails, as a disk does that breaks down.
    """

    def __init__(self, folder, at_crash_point=lambda: None, *, fail_at=None, room_bytes=None):
        self.folder = folder
        self.calls = 0
        self._at_crash_point = at_crash_point
        self._fail_at, self._room_bytes = fail_at, room_bytes
        self._open = {}
        self._folders = {}
        self._names = {}
        self._kept_names = {}
        self._changes = []

    def open(self, path, flags, mode=0o777):
        if not flags & os.O_CREAT:
            descriptor = _real.open(path, flags, mode)
            self._folders[descriptor] = Path(path)
            return descriptor
        self._begin()
        descriptor = _real.open(path, flags, mode)
        self._open[descriptor] = _File()
        self._change({Path(path): self._open[descriptor]})
        return descriptor

    def write(self, descriptor, data):
        self._begin()
        if self._room_bytes is not None:
            used = sum(len(file.content) for file in self._names.values())
            data = data[: max(0, self._room_bytes - used)]
            if not data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _real.write(descriptor, data)
        writes = self._open[descriptor].writes
        writes.append(data[: len(data) // 2])
        self._at_crash_point()
        writes[-1] = bytes(data)
        return len(data)

    def fsync(self, descriptor):
        file = self._open.get(descriptor)
        try:
            self._begin()
        except OSError:
            if file is not None:
                file.spoilt = True
            raise
        if file is None:
            self._keep_changes(self._folders[descriptor])
        elif not file.spoilt:
            file.kept, file.writes = file.content, []

    def replace(self, before, after):
        self._begin()
        _real.replace(before, after)
        self._change({Path(after): self._names[self._name(before)], Path(before): None})

    def unlink(self, path):
        self._begin()
        _real.unlink(path)
        self._change({Path(path): None})

    def close(self, descriptor):
        self._open.pop(descriptor, None)
        self._folders.pop(descriptor, None)
        _real.close(descriptor)

    def after_kill(self):
        """Return the files as they are, by their path in the folder."""
        return {name: file.content for name, file in self._names.items()}

    def after_power_cut(self, random):
        """Return one of the ways in which the files may be after a power cut."""
        names = dict(self._kept_names)
        for _, change in self._changes:
            if random.random() < 0.7:
                _apply(names, change)
        return {name: file.after_power_cut(random) for name, file in names.items()}

    def _name(self, path):
        return str(Path(path).relative_to(self.folder))

    def _change(self, files):
        names = {self._name(path): file for path, file in files.items()}
        _apply(self._names, names)
        self._changes.append(({path.parent for path in files}, names))

    def _keep_changes(self, folder):
        """Keep the changes in a folder, and those before of the same names.

        What was renamed from one folder to another is kept with either.
        """
        kept, names, others = [], set(), []
        for folders, change in reversed(self._changes):
            if folder in folders or not names.isdisjoint(change):
                kept.insert(0, change)
                names.update(change)
            else:
                others.insert(0, (folders, change))
        for change in kept:
            _apply(self._kept_names, change)
        self._changes = others

    def _begin(self):
        self._at_crash_point()
        call, self.calls = self.calls, self.calls + 1
        if call == self._fail_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def _apply(names, change):
    for name, file in change.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


@contextlib.contextmanager
def standing_in(disk):
    """Have everybody call this disk instead of the kernel."""
    try:
        for name in vars(_real):
            setattr(os, name, getattr(disk, name))
        yield disk
    finally:
        for name, function in vars(_real).items():
            setattr(os, name, function)


def lay_out(folder, files):
    """Make a folder with these files, as the next life finds it."""
    folder.mkdir(mode=0o700, parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
