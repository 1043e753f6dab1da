"""Folders that all processes of a running chain share, however each of them was started.

The first process chooses them by its environment, and writes them into the note of the run
directory. Later ones, from another shell or a unit, read the note, so that no stage keeps its
journal where no command looks for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from arroyo.config.folders import Folders
from arroyo.config.graph import Chain
from arroyo.config.run_directory import ChainNote, RunDirectory
from arroyo.config.state_directory import StateDirectory
from arroyo.errors import AlreadyRunningError

from .locks import Lock, open_locked, owner
from .namesakes import find_namesake


def find_folders(chain: str, environ: Mapping[str, str]) -> Folders:
    """Return the folders with which a chain runs, or ran last; for commands."""
    found = Folders.locate(chain, environ)
    note = found.run.read_note()
    if note is None or note.chain != chain:
        return found
    return Folders(found.run, StateDirectory(note.state))


@contextlib.contextmanager
def settling(run: RunDirectory) -> Iterator[None]:
    """Keep others from taking locks and settling in a run directory meanwhile.

    Stages that start together would else take each other for a chain that runs by an old note.

    ConfigurationError, UnavailableError: the file for it can't be made or locked.
    """
    descriptor = open_locked(run.settling)
    try:
        yield
    finally:
        os.close(descriptor)


def settle_folders(chain: Chain, environ: Mapping[str, str], lock: Lock) -> Folders:
    """Choose the folders of a chain, make them, and write them into the note.

    `environ`: decides, unless another process of this chain runs.
    `lock`: held by this process in the run directory, as its supervisor or a stage by hand.

    AlreadyRunningError: a chain of this name runs from another file.
    ConfigurationError, UnavailableError: a folder can't be made, or the note can't be written.
    """
    found = Folders.locate(chain.name, environ)
    others = [path for path in found.run.locks if path != lock.path and owner(path) is not None]
    if other := find_namesake(chain, found.run, but=lock.path):
        held = ", ".join(path.name for path in others)
        raise AlreadyRunningError(
            f'chain "{chain.name}" is already running ({held}, started from {other}); '
            "stop it first, or give this chain another name"
        )
    if others:
        found = find_folders(chain.name, environ)
    found.create()
    leads = not others or lock.path == found.run.lock("supervisor")
    if leads or found.run.read_note() is None:
        found.run.write_note(ChainNote(chain.name, chain.path, found.state.path))
    return found
