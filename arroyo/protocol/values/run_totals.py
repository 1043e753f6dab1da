"""`RunTotals`: what became of the messages of one run, as its Stop tells. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from arroyo.codec import Reason
from arroyo.messages import Message


class RunTotals(msgspec.Struct):
    """Counts of a run, as they go into the ``data["totals"]`` of its Stop."""

    sent: int | None = None
    """Messages that left the source, or would have. None: unknown."""
    filtered: int = 0
    skipped: int = 0
    quarantined: int = 0
    """Like the two before: messages that ended on their way."""
    dropped: int = 0
    """Messages that were dropped in front of a full window, and not sent."""
    lost: int = 0
    """Messages that can't be sent again."""
    lost_at_most: int | None = None
    """Upper bound of what is lost, where the number is not certain."""
    missing: list[list[int]] | None = None
    """Where the lost ones are among those sent, if that is known."""
    complete: bool = True
    """Whether it is the whole run, and every message arrived or ended on purpose."""
    inputs: Mapping[str, Any] | None = None
    """Of a fold: totals of what it was made of."""

    @classmethod
    def of(cls, sent: int, ends: Mapping[int, int], *, complete: bool) -> RunTotals:
        """Return the totals of a run of which nothing is lost; `ends`: how many, by reason."""
        return cls(
            sent,
            ends.get(Reason.FILTERED, 0),
            ends.get(Reason.SKIPPED, 0),
            ends.get(Reason.QUARANTINED, 0),
            complete=complete,
        )

    def note_missing(self, gaps: Iterable[tuple[int, int]], base: int) -> None:
        """Name what is lost: ranges of sequences, of a run whose first event is `base`."""
        missing = [[first - base, end - base] for first, end in gaps]
        if missing:
            self.missing = missing
            self.lost = sum(end - first for first, end in missing)
            self.complete = False

    def note_dropped(self, dropped: int) -> None:
        """Count what was dropped; a run is complete only if nothing was, and nothing is lost."""
        self.dropped = dropped
        self.complete = self.complete and not (dropped or self.lost)

    def note_inputs(self, inputs: Mapping[str, Any] | None) -> None:
        """Tell of what a fold's outputs were made of; they are as complete as that was."""
        if inputs is not None:
            self.inputs = inputs
            self.complete = self.complete and inputs.get("complete", True)

    def as_data(self) -> dict[str, Any]:
        """Return what the Stop says: all counts, if they are known, and what else there is."""
        data = msgspec.structs.asdict(self)
        if self.sent is None:
            counts = ("lost", "lost_at_most") if self.lost_at_most is not None else ()
            return {name: data[name] for name in (*counts, "complete")}
        return {name: value for name, value in data.items() if value is not None}


def with_totals(stop: Message, totals: RunTotals) -> Message:
    """Return the Stop that goes on."""
    data = {**getattr(stop, "data", {}), "totals": totals.as_data()}
    return msgspec.structs.replace(stop, data=data)
