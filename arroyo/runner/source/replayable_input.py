"""`ReplayableInput`: keeps a journal of an input that can be read again."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

from arroyo.config.state_directory import find_strangers
from arroyo.identifiers import new_run
from arroyo.protocol.recovery.journal import NoteEntry
from arroyo.protocol.values.actions import Action, Persist
from arroyo.runner.assembly.sources import make_source
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.process.stage_context import StageContext
from arroyo.runner.state.source_journal import SourceJournal

from .input_recovery import InputRecovery

_log = logging.getLogger(__name__)


class ReplayableInput(InputRecovery):
    """The recovery of such an input."""

    comes_again = True
    resumes = True

    def __init__(self, replica: StageContext, window: InputWindow, folder: Path) -> None:
        self._journal = SourceJournal(folder)
        if self._journal.is_new and replica.state is not None:
            for stranger in find_strangers(replica.chain, replica.state):
                _log.warning("%s", stranger)
        memory = copy.copy(self._journal.memory)
        self.source = make_source(
            replica.chain,
            replica.name,
            epoch=memory.epoch,
            memory=memory,
            incarnation=replica.incarnation,
            new_run=new_run,
            make_early_stop=window.runs.early_stop,
            history=replica.history,
        )

    def note_open(self) -> None:
        """Do nothing: there is no life that the journal does not know of."""

    def resume(self, now: float) -> list[Action]:
        """Take up where the life before has ended."""
        if self.source.open_places:
            _log.info("%d messages were in flight; they come again", self.source.open_places)
        return self.source.begin(now)

    def keep(self, action: Persist) -> None:
        """Append to the journal."""
        assert isinstance(action, NoteEntry)
        self._journal.note(action.entry)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
