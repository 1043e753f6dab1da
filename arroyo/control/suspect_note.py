"""`SuspectNote`: the message that a stage's process probably died of.

Whoever sees the process die leaves a note, ``status/STAGE.R.suspect``; the replica that starts
next takes it and tells the message's source, which decides whether to send it again.
"""

from __future__ import annotations

import msgspec

from arroyo.config.run_directory import RunDirectory
from arroyo.durable.frames import Kind
from arroyo.durable.replaced_file import ReplacedFile
from arroyo.errors import ConfigurationError
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
    _file(run_directory, name).write(suspect)


def take_suspect(run_directory: RunDirectory, name: ReplicaName) -> SuspectNote | None:
    """Read what the predecessor of replica `name` has died of, and remove the note.

    None: of no message that anybody knows of.
    """
    file = _file(run_directory, name)
    try:
        found = file.read()
        file.remove()
    except (OSError, ConfigurationError):
        return None
    return found


def _file(run_directory: RunDirectory, name: ReplicaName) -> ReplacedFile[SuspectNote]:
    path = run_directory.status_page(name).with_name(f"{name}.suspect")
    return ReplacedFile(path, _KIND, SuspectNote, read_former=_read_former)


_KIND = Kind(b"SUSP", 1)
_read_former = msgspec.json.Decoder(SuspectNote).decode
