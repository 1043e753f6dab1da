"""Which folders the processes of a running chain share, however each of them was started.

Who starts first decides by its environment, and says so in the note of the run directory. Who
comes later, in another shell or from a unit, takes what stands there, so that no stage keeps its
journal where no command looks for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from arroyo.config.folders import Folders
from arroyo.config.graph import Chain
from arroyo.config.run_directory import Note
from arroyo.config.state_directory import StateDirectory

from .locks import Lock, owner


def find_folders(chain: str, environ: Mapping[str, str]) -> Folders:
    """Find the folders with which a chain runs, or ran last; for commands."""
    found = Folders.locate(chain, environ)
    note = found.run.read_note()
    if note is None or note.chain != chain:
        return found
    return Folders(found.run, StateDirectory(note.state))


def settle_folders(chain: Chain, environ: Mapping[str, str], lock: Lock) -> Folders:
    """Settle which folders a chain runs with, and note it down.

    Parameters
    ----------
    chain
        The chain that is being started.
    environ
        Decides where no other process of this chain runs.
    lock
        Held by this process in the run directory, as its supervisor or a stage by hand.

    Raises
    ------
    ConfigurationError, UnavailableError
        The folders can't be made, or the note not be written.
    """
    found = Folders.locate(chain.name, environ)
    others = [path for path in found.run.locks if path != lock.path and owner(path) is not None]
    if others:
        found = find_folders(chain.name, environ)
    found.create()
    leads = not others or lock.path == found.run.lock("supervisor")
    if leads or found.run.read_note() is None:
        found.run.write_note(Note(chain.name, chain.path, found.state.path))
    return found
