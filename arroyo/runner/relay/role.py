"""`Role`: what differs between an operator, a publisher and an operator that folds.

All three have the same loop (`RelayProcess`): take a batch, have the stage's code work on it, send
on what came of it, acknowledge. The loop has a role, and asks it wherever they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from arroyo.codec import Batch, Kind
from arroyo.messages import Message
from arroyo.protocol.values.deliveries import Work, origins_of
from arroyo.runner.process.stage_context import StageContext
from arroyo.runner.quarantine.writer import QuarantineWriter
from arroyo.runner.user_code.batch_reader import BatchReader
from arroyo.runner.user_code.current_message import CurrentMessage
from arroyo.shared_memory.kept_views import KeptViews

from .counters import Counters

if TYPE_CHECKING:
    from arroyo.protocol.fold.fold import Fold
    from arroyo.protocol.relay.relay import Relay

    from .fold_role import FoldRole
    from .relay_role import RelayRole

Role: TypeAlias = "RelayRole | FoldRole"
Machine: TypeAlias = "Relay | Fold"
"""The state machine of a replica that has stages above."""


class Equipment(NamedTuple):
    """What a replica's role and its loop both work with."""

    replica: StageContext
    current_message: CurrentMessage
    quarantine: QuarantineWriter
    reader: BatchReader
    kept_views: KeptViews
    counters: Counters

    def take_up(self, batch: Batch, work: Sequence[Work]) -> None:
        """The stage's code works on the events of a batch from here on."""
        self.current_message.take_up(batch, work, self.replica.suspect_lists.concern)

    def take_controls(self, batch: Batch, work: Sequence[Work]) -> list[Message]:
        """Return a Start, a Stop or the announcement of one, as the stage's code gets it.

        Start and Stop are kept for messages that come back from quarantine when the run is over.
        """
        messages: list[Message] = [message for _, _, message in work]
        for message in messages:
            message._origin = origins_of(batch)(batch.base - 1, ())
        if batch.kind != Kind.CLOSING:
            self.quarantine.note_control(batch, messages)
        return messages


def equip(replica: StageContext) -> Equipment:
    """Make what a replica that has stages above works with."""
    quarantine = QuarantineWriter(
        replica.quarantine, replica.chain, replica.name, replica.codec, replica.clock
    )
    reader = BatchReader(replica.codec, quarantine)
    quarantine.counted = replica.page.word("quarantined")
    quarantine.as_it_came = reader.as_it_came
    return Equipment(
        replica,
        CurrentMessage(replica.hand_sequence, replica.hand_part, replica.page.word("hand_end")),
        quarantine,
        reader,
        KeptViews(replica.payloads, replica.stage.target),
        Counters(),
    )


def make_role(equipment: Equipment, made: Any) -> Role:
    """Make the role of a stage; `made` is its object."""
    if equipment.replica.stage.role == "publisher":
        from .relay_role import make_publisher_role

        return make_publisher_role(equipment, made)
    if getattr(made, "folds", False):
        from .fold_role import FoldRole

        return FoldRole(equipment, made)
    from .relay_role import make_operator_role

    return make_operator_role(equipment, made)
