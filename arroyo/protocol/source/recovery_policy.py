"""`RecoveryPolicy`: what a sender does about its own death. PURE.

This one does nothing; `arroyo.protocol.recovery` has those of sources. What is lost on the way,
while the sender lives, is another question (`loss_policy`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from arroyo.codec import Ack, Suspect
from arroyo.protocol.values.batches import OutgoingBatch

from .input import InputBatch

if TYPE_CHECKING:
    from arroyo.protocol.recovery.unclosed_run import UnclosedRun

    from .reliable_sender import ReliableSender


class RecoveryPolicy:
    """The policy of a fold's outputs: what their next life has to know, the fold notes itself."""

    @property
    def open_places(self) -> int:
        """How many messages that were in flight in the life before have not come again."""
        return 0

    def begin(self, sender: ReliableSender, unclosed: Iterable[UnclosedRun], now: float) -> None:
        """Take up what the lives before have left, before anything is handed over."""

    def admit(self, intake: InputBatch) -> Iterable[InputBatch]:
        """Return the parts of an input that have to be sent."""
        return (intake,)

    def end_replay(self) -> Iterable[InputBatch]:
        """Nothing more is handed over again; return what has to be sent in place of the rest."""
        return ()

    def find_lost(self, first: int, end: int) -> Iterable[int]:
        """Return which of the places that are passed over held a message of the input."""
        return ()

    def note_sending(self, batch: OutgoingBatch, tokens: Sequence[Any]) -> None:
        """Have noted what has to be known before a batch enters the ledger and leaves."""

    def note_advance(self, tokens: Sequence[Any]) -> None:
        """Have noted what has to be known before these tokens are acknowledged."""

    def note_attempt(self) -> None:
        """Have noted that another round of sending again begins."""

    def note_death(self, suspect: Suspect) -> None:
        """Have noted that a process has died of a message."""

    def translate(self, ack: Ack) -> Ack | None:
        """Return what an acknowledgement to a life before finishes in this one."""
        return None

    def restore(self, batch: OutgoingBatch) -> Iterable[OutgoingBatch]:
        """Return what leaves for an entry of a life before that comes again."""
        return ()
