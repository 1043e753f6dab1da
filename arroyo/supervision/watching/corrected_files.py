"""Watches the files of stages that are FAILED for their configuration, until one has changed.

So saving a corrected file is enough to restart the stage. The files are the modules beside the
chain file, the stage's own module wherever it is, and files that the stage's options name; the
chain file itself is read again by a reload only. They are checked once a second, and only while
there is such a stage.
"""

from __future__ import annotations

import contextlib
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from arroyo.config.graph import Chain, Stage
from arroyo.identifiers import ReplicaName

LOOK_EVERY_S = 1.0
_FILES_MAX = 1000
Stamp: TypeAlias = tuple[int, int, int]
"""Modification time, size and inode of a file; a file that was written again has another one."""


class CorrectedFiles:
    """Compares the files of each replica with how they were when its process was started."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._before: dict[ReplicaName, dict[Path, Stamp]] = {}
        self._look_at = 0.0

    def use(self, chain: Chain) -> None:
        """Look at the files that this version of the chain names."""
        self._chain = chain

    @property
    def next_at(self) -> float:
        """When to look next, if a replica waits for that."""
        return self._look_at

    def note(self, name: ReplicaName) -> None:
        """Note the state of the files, before a process of the replica reads them."""
        self._before[name] = _stamps(files_of(self._chain, self._chain.stages[name.stage]))

    def look(self, names: Sequence[ReplicaName], now: float) -> list[tuple[ReplicaName, str]]:
        """Return the replicas among `names` whose files have changed, each with one such file."""
        if not names or now < self._look_at:
            return []
        self._look_at = now + LOOK_EVERY_S
        found = []
        for name in names:
            before = self._before.get(name, {})
            after = _stamps(files_of(self._chain, self._chain.stages[name.stage]))
            changed = [
                path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
            ]
            if changed:
                found.append((name, min(changed).name))
        return found


def files_of(chain: Chain, stage: Stage) -> list[Path]:
    """Return the files in which a stage can be corrected; some of them may not exist."""
    named = _named(chain.folder, [stage.options, stage.command])
    return [*_modules_in(chain.folder), *_modules(chain, stage), *named][:_FILES_MAX]


def _modules(chain: Chain, stage: Stage) -> list[Path]:
    """Return the files of the stage's module or package; none if it is Arroyo's, or a program."""
    top, *inner = stage.target.partition(":")[0].split(".")
    if top in {"", "arroyo"}:
        return []
    for folder in (*map(Path, sys.path), chain.folder):
        with contextlib.suppress(OSError):  # Python skips such a folder, too
            if (folder / top).is_dir():
                within = folder.joinpath(top, *inner)
                return _modules_in(within if within.is_dir() else within.parent)
            if (found := folder / f"{top}.py").is_file():
                return [found]
    return []


def _modules_in(folder: Path) -> list[Path]:
    """Return the modules in a folder; none while it can't be read."""
    try:
        return sorted(folder.glob("*.py"))
    except OSError:
        return []


def _named(folder: Path, options: object) -> list[Path]:
    """Return every option, however deep, that may be the name of a file."""
    if isinstance(options, str):
        return [folder / options] if options and "\0" not in options else []
    values: Iterable[object] = ()
    if isinstance(options, dict):
        values = options.values()
    elif isinstance(options, list | tuple):
        values = options
    return [path for value in values for path in _named(folder, value)]


def _stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    found = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        # Of a folder only whether it exists: its time changes with every file in it.
        is_folder = stat.S_ISDIR(status.st_mode)
        time_ns, size = (0, 0) if is_folder else (status.st_mtime_ns, status.st_size)
        found[path] = time_ns, size, status.st_ino
    return found
