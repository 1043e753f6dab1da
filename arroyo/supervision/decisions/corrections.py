"""Watches the files of stages that are FAILED for their configuration, until one has changed.

Nobody has to tell the supervisor that a mistake was mended: saving the file is enough. Looked at
are the chain file, the modules beside it, the stage's own module wherever it is, and the files
that the stage's options name. Only while such a stage is there, and once a second.
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
"""Modification time, size and number of a file: a file that was written anew has another one."""


class Corrections:
    """Knows how the files of each replica were when its process was started.

    Parameters
    ----------
    chain
        Whose stages.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._before: dict[ReplicaName, dict[Path, Stamp]] = {}
        self._look_at = 0.0

    @property
    def next_at(self) -> float:
        """When to look next, if there is anything to look for."""
        return self._look_at

    def note(self, name: ReplicaName) -> None:
        """Note how the files are now, before a process of the replica reads them."""
        self._before[name] = _stamps(files_of(self._chain, self._chain.stages[name.stage]))

    def look(self, names: Sequence[ReplicaName], now: float) -> list[tuple[ReplicaName, str]]:
        """Return those of `names` whose files have changed, each with one file that has."""
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
    """List the files that a stage is made of and may be mended in; some may not be there."""
    beside = sorted(chain.folder.glob("*.py"))
    return [chain.path, *beside, *_modules(chain, stage), *_named(chain.folder, stage.options)][
        :_FILES_MAX
    ]


def _modules(chain: Chain, stage: Stage) -> list[Path]:
    """List the files of the stage's module, or of its package; of one of ours, none."""
    top, *inner = stage.target.partition(":")[0].split(".")
    if top == "arroyo":
        return []
    for folder in (*map(Path, sys.path), chain.folder):
        with contextlib.suppress(PermissionError):  # as Python passes over such a folder
            if (folder / top).is_dir():
                within = folder.joinpath(top, *inner)
                return sorted((within if within.is_dir() else within.parent).glob("*.py"))
            if (found := folder / f"{top}.py").is_file():
                return [found]
    return []


def _named(folder: Path, options: object) -> list[Path]:
    """Find what may be the name of a file among options, however deep."""
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
        # Of a folder only that it is there: its time changes with every file in it.
        is_folder = stat.S_ISDIR(status.st_mode)
        time_ns, size = (0, 0) if is_folder else (status.st_mtime_ns, status.st_size)
        found[path] = time_ns, size, status.st_ino
    return found
