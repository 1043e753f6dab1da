"""`SourceJournal`: the notes of a source with a replayable input, in a log that outlives it.

Each note is in the file before the source acts on it. That outlasts `kill -9` of the process; a
power cut may take the last seconds, back to the last snapshot: then messages come again under new
keys. A file that is broken is set aside, and the source begins anew.
"""

from __future__ import annotations

import logging
from pathlib import Path

from arroyo.durable.append_log import AppendLog
from arroyo.durable.frames import FileKind
from arroyo.durable.replaced_file import set_aside
from arroyo.errors import ConfigurationError, UnavailableError, fault_of
from arroyo.identifiers import new_epoch
from arroyo.protocol.recovery.journal import JournalEntry, JournalState

_KIND = FileKind(b"SRCJ", 1)
_log = logging.getLogger(__name__)


class SourceJournal:
    """The journal of one replica; `memory` is what it says in all.

    ConfigurationError: the folder can't be made, or the file in it not be read.
    UnavailableError: the disk is full, or gone; so for all methods that write.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise fault_of(error)(
                f"the state directory {folder} can't be made: {error.strerror}; set "
                "ARROYO_STATE_DIR to a folder that you may write"
            ) from error
        self._journal = open_journal(self._path)
        self.memory = self._journal.state
        self.is_new = self._journal.is_new
        """True if there was no journal; False also for one that was lost."""
        try:
            if self._journal.is_lost:
                self._set_aside()
            self._journal.compact()
        except OSError as error:
            raise self._unavailable(error) from error

    def _set_aside(self) -> None:
        _log.warning(
            "the journal %s is broken, as after a power cut, and is now %s; this source begins "
            "anew: what its input hands over again comes to the publishers a second time",
            self._path,
            set_aside(self._path).name,
        )

    def note(self, entry: JournalEntry) -> None:
        """Write a note down."""
        try:
            self._journal.append(entry)
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"{self._path} can't be written: {error.strerror}; make room on its disk, and this "
            "stage goes on where it was"
        )

    def close(self) -> None:
        """Close the file; it stays for the next life."""
        self._journal.close()


def open_journal(path: Path) -> AppendLog[JournalState]:
    """Read a journal, if there is one.

    ConfigurationError: it can't be read at all.
    """
    try:
        return AppendLog(
            path,
            _KIND,
            JournalState,
            JournalEntry,
            empty=lambda: JournalState(epoch=new_epoch()),
            sync=True,
        )
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from error
