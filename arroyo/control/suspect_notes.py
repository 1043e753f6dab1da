"""Notes on messages that processes of a stage have died of.

The process that sees a death (the supervisor) leaves a note beside the status page:

- ``status/STAGE.R.suspect``, where one message was in hand. The next process of the replica takes
  it and tells the message's source, which decides whether to send the message again.
- ``status/STAGE.R.lists``, where a list of messages was in hand, and nobody knows which of them was
  to blame. PROTOCOL 42: every replica of the stage works on these one by one from then on. So the
  one to blame is in hand alone when it strikes again, and becomes a suspect like any other. Such a
  note is worthless when its messages are finished, and does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from arroyo.codec import Batch
from arroyo.config.run_directory import RunDirectory
from arroyo.durable.frames import FileKind
from arroyo.durable.replaced_file import ReplacedFile
from arroyo.errors import ConfigurationError
from arroyo.identifiers import ReplicaName

STACK_CHARACTERS = 16 * 1024
"""A longer stack is cut: its first frames say where it happened."""
LISTS = 16
"""Lists that are kept of each replica; more deaths than that within one window end its stage."""


class SuspectNote(msgspec.Struct, frozen=True):
    """A message that was in hand when its process died, and may be to blame for that."""

    source: str
    """Source of the message, ``STAGE.R``."""
    epoch: int
    sequence: int
    """Sequence in the epoch of its source, as in `Batch.ranges`."""
    reason: str
    """In words: ``died of a segmentation fault (SIGSEGV)``."""
    stack: str = ""
    """Stacks of all threads of the process."""


class SuspectList(msgspec.Struct, frozen=True, array_like=True):
    """A list of messages that was in hand when its process died.

    Between its first and last message there may be others, which other replicas had.
    """

    source: str
    epoch: int
    first: int
    end: int
    """Sequence of the first message, and of the last + 1."""


def leave_suspect(run_directory: RunDirectory, name: ReplicaName, suspect: SuspectNote) -> None:
    """Leave a note on the suspect for the next process of a replica, in place of an earlier one.

    OSError: the note can't be written; so for `leave_list`.
    """
    _suspect_file(run_directory, name).write(suspect)


def take_suspect(run_directory: RunDirectory, name: ReplicaName) -> SuspectNote | None:
    """Return the note on the suspect of a replica, and remove it; None where there is none."""
    file = _suspect_file(run_directory, name)
    try:
        found = file.read()
        file.remove()
    except (OSError, ConfigurationError):
        return None
    return found


def leave_list(run_directory: RunDirectory, name: ReplicaName, found: SuspectList) -> None:
    """Note a list for the next process of a replica, and for its siblings."""
    known = [each for each in _read_lists(run_directory, name) if each != found]
    _lists_file(run_directory, name).write([*known, found][-LISTS:])


class SuspectLists:
    """The lists that processes of one stage have died of.

    `run_directory`: where they are noted; None: nothing is noted, and none is known.
    """

    def __init__(self, run_directory: RunDirectory | None, names: Iterable[ReplicaName]) -> None:
        self._run_directory = run_directory
        self._names = tuple(names)
        self._changed_ns = -1
        self._known: tuple[SuspectList, ...] = ()
        self.read()

    def read(self) -> Sequence[SuspectList]:
        """Return the lists; costs next to nothing while no file of the folder has changed."""
        if self._run_directory is None:
            return ()
        folder = self._run_directory.status_page(self._names[0]).parent
        try:
            changed_ns = folder.stat().st_mtime_ns
        except OSError:
            return self._known
        if changed_ns != self._changed_ns:
            self._changed_ns = changed_ns
            notes = (_read_lists(self._run_directory, name) for name in self._names)
            self._known = tuple(each for note in notes for each in note)
        return self._known

    def concern(self, batch: Batch, first: int, end: int) -> bool:
        """Return True if the messages of a delivery are to be worked on one by one.

        From `first` on and without `end`. Where a stage restores order, not all are of this batch.
        """
        # One that comes again may have been in hand of another replica, which has died of it.
        known = self.read() if batch.attempt else self._known
        return bool(known) and any(
            first < each.end and each.first < end
            for each in known
            if (each.source, each.epoch) == (batch.source, batch.epoch)
        )


def _read_lists(run_directory: RunDirectory, name: ReplicaName) -> Sequence[SuspectList]:
    try:
        return _lists_file(run_directory, name).read() or ()
    except (OSError, ConfigurationError):
        return ()


def _suspect_file(run_directory: RunDirectory, name: ReplicaName) -> ReplacedFile[SuspectNote]:
    path = run_directory.status_page(name).with_name(f"{name}.suspect")
    return ReplacedFile(path, FileKind(b"SUSP", 1), SuspectNote)


def _lists_file(run_directory: RunDirectory, name: ReplicaName) -> ReplacedFile[list[SuspectList]]:
    path = run_directory.status_page(name).with_name(f"{name}.lists")
    return ReplacedFile(path, FileKind(b"LIST", 1), list[SuspectList])
