"""`SuspectNote`: the message that a stage's process probably died of.

Whoever sees the process die leaves a note, ``status/STAGE.R.suspect``; the replica that starts
next takes it and tells the message's source, which decides whether to send it again.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName

STACK_CHARACTERS = 16 * 1024
"""More of a stack is cut off: the first frames say where it happened."""


class SuspectNote(msgspec.Struct, frozen=True):
    """A message in hand when the process ended in a way that the message may be to blame for."""

    source: str
    """Its source, ``STAGE.R``."""
    epoch: int
    sequence: int
    """Where it stands in its source's epoch, as in `Batch.ranges`."""
    reason: str
    """In words: ``died of a segmentation fault (SIGSEGV)``."""
    stack: str = ""
    """Stacks of the process, the thread at work among them."""


def leave_suspect(run_directory: RunDirectory, name: ReplicaName, suspect: SuspectNote) -> None:
    """Note down what replica `name` has died of, for the next one; an earlier note goes.

    Raises
    ------
    OSError
        The note can't be written.
    """
    path = _path(run_directory, name)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(suspect))
    draft.replace(path)


def take_suspect(run_directory: RunDirectory, name: ReplicaName) -> SuspectNote | None:
    """Read what the predecessor of replica `name` has died of, and remove the note.

    None: of no message that anybody knows of.
    """
    path = _path(run_directory, name)
    try:
        content = path.read_bytes()
        path.unlink()
        return msgspec.json.decode(content, type=SuspectNote)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _path(run_directory: RunDirectory, name: ReplicaName) -> Path:
    return run_directory.status_page(name).with_name(f"{name}.suspect")
