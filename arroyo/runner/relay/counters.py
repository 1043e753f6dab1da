"""`Counters`: counts of a replica that has stages above, for its status page."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from arroyo.codec import Batch, Body, Reason
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.deliveries import Outcome, Output, all_published
from arroyo.telemetry.status_page import StatusPage
from arroyo.telemetry.status_words import INPUTS

_WORDS = ("received", "sent", "bytes_in", "bytes_out", "filtered", "skipped", "repeated")


class Counters(msgspec.Struct):
    """Counts since the process began; fields as the words of the status page."""

    received: int = 0
    sent: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    filtered: int = 0
    skipped: int = 0
    repeated: int = 0
    by_sender: dict[str, int] = {}
    """How many of ``received`` came from which replica above."""

    def take_up(self, batch: Batch, count: int) -> None:
        """Count messages of a batch that the stage's code is done with."""
        self.received += count
        self.by_sender[batch.sender] = self.by_sender.get(batch.sender, 0) + count
        if batch.attempt:
            self.repeated += count

    def take_back(self, ends: Collection[Reason]) -> None:
        """Correct the counts: messages that counted as sent were refused, and ended like this."""
        self.sent -= len(ends)
        self.skipped += sum(reason == Reason.SKIPPED for reason in ends)

    def write(self, page: StatusPage, inputs: Sequence[str]) -> None:
        """Write the counts to the status page; `inputs`: the stages above, in their order."""
        for word in _WORDS:
            page.set(word, getattr(self, word))
        by_input = [0] * INPUTS
        for sender, count in self.by_sender.items():
            by_input[min(inputs.index(ReplicaName.parse(sender).stage), INPUTS - 1)] += count
        for place, count in enumerate(by_input[: len(inputs)]):
            page.set(f"input_{place}", count)

    def give_out(self, outcomes: Sequence[Outcome], *, publishes: bool) -> None:
        """Count what came of messages; `publishes`: the stage sends to the outside, unseen."""
        if type(outcomes) is Body:
            self.sent += len(outcomes)
            self.bytes_out += outcomes.size
            return
        if publishes and all_published(outcomes):
            self.sent += len(outcomes)
            return
        others = [outcome for outcome in outcomes if type(outcome) is Output]
        self.filtered += sum(outcome.reason == Reason.FILTERED for outcome in others)
        self.skipped += sum(outcome.reason == Reason.SKIPPED for outcome in others)
        if publishes:
            self.sent += len(outcomes) - len(others)
            return
        singles = [outcome for outcome in outcomes if type(outcome) is not Output]
        self.sent += len(singles) + sum(len(outcome.items) for outcome in others)
        self.bytes_out += sum(map(len, singles)) + sum(outcome.size for outcome in others)
