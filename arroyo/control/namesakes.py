"""Chains of the same name that run from another chain file.

A run directory is found by the name alone, so two such chains would share one, and a command for
the one would be carried out by the other.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from arroyo.config.graph import Chain
from arroyo.config.reader import read_text
from arroyo.config.run_directory import RunDirectory
from arroyo.errors import ConfigurationError

from .locks import owner


def is_same(path: Path, other: Path) -> bool:
    """Return True if two paths lead to the same file, which may have been removed."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    with contextlib.suppress(OSError):
        return path.samefile(other)  # by a mount, or a second name
    return False


def find_namesake(chain: Chain, run: RunDirectory, but: Path | None = None) -> Path | None:
    """Return the file of another chain that runs in this directory; None: there is none.

    `but`: a lock that does not count, since this process holds it.

    Where the file that it was started from is gone, it counts as this one, which was moved, unless
    the texts differ.
    """
    file = run.chain_file(chain.name)
    if file is None or is_same(file, chain.path) or not _is_held(run, but):
        return None
    with contextlib.suppress(OSError):
        file.stat()
        return file
    with contextlib.suppress(ConfigurationError):
        return file if read_text(run.accepted) != chain.text else None
    return None


def _is_held(run: RunDirectory, but: Path | None) -> bool:
    """Return True if a process of a chain runs in this directory, as far as this user can see."""
    with contextlib.suppress(ConfigurationError):
        return any(path != but and owner(path) is not None for path in run.locks)
    return False
