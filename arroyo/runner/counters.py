"""`Counters`: what an operator's or publisher's replica counts for its status page."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arroyo.codec import Body, Reason
from arroyo.protocol.relay import Outcome, Output


class Counters(msgspec.Struct):
    """Counts since the process began; fields as the words of the status page."""

    received: int = 0
    sent: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    filtered: int = 0
    held: int = 0
    """Payloads that the stage's code has kept for too long; a part of ``errors``."""

    def give_out(self, outcomes: Sequence[Outcome], *, publishes: bool) -> None:
        """The stage's code is done with messages; `publishes`: what it sends is not seen here."""
        if type(outcomes) is Body:
            self.sent += len(outcomes)
            self.bytes_out += outcomes.size
            return
        others = [outcome for outcome in outcomes if type(outcome) is Output]
        self.filtered += sum(outcome.reason == Reason.FILTERED for outcome in others)
        if publishes:
            self.sent += len(outcomes) - len(others)
            return
        singles = [outcome for outcome in outcomes if type(outcome) is not Output]
        self.sent += len(singles) + sum(len(outcome.items) for outcome in others)
        self.bytes_out += sum(map(len, singles)) + sum(outcome.size for outcome in others)
