"""What a sender does about messages that may be lost: `Redeliver`, or `CountAsLost`. PURE.

What it does about its own death is another question (`recovery_policy`).
"""

from __future__ import annotations

from typing import TypeAlias

from arroyo.codec import Ack, Kind
from arroyo.protocol.sending.downstream import Downstream
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.ranges import RangeSet

from .ledger import Ledger


class Redeliver:
    """Keeps everything until it is finished and sends it again, so that nothing is lost."""

    def let_go(self, ledger: Ledger, batch: OutgoingBatch) -> None:
        """Keep the batch entered last, which has left."""

    def find_again(self, ledger: Ledger, ack: Ack) -> int:
        """Return how many messages that were counted as lost have arrived all the same."""
        return 0

    def give_up(
        self, ledger: Ledger, downstream: Downstream, epoch: int, before: float
    ) -> int | None:
        """Return how many messages that left at a time or earlier are lost now.

        None: something of it still arrives; ask again later, before anything is sent again.
        """
        return 0


class CountAsLost:
    """Counts and names what is lost, without repair: ``delivery = "best-effort"``.

    PROTOCOL 58: window, acknowledgements and totals are those of any source; the messages
    themselves are let go of when they have left. Start and Stop come again as ever.
    """

    def __init__(self) -> None:
        self._open_places = -1

    def let_go(self, ledger: Ledger, batch: OutgoingBatch) -> None:
        """Drop its messages, but for payloads that have to be given back."""
        if batch.header.kind == Kind.EVENTS:
            ledger.let_go_of_last()

    def find_again(self, ledger: Ledger, ack: Ack) -> int:
        """Take what is acknowledged off the list of what is missing."""
        if not any(ledger.missing.common(*span) for span in ack.ranges):
            return 0  # the usual case, however much is missing
        before = len(ledger.missing)
        arrived = RangeSet(ack.ranges)
        ledger.missing = RangeSet(gap for span in ledger.missing for gap in arrived.missing(*span))
        return before - len(ledger.missing)

    def give_up(
        self, ledger: Ledger, downstream: Downstream, epoch: int, before: float
    ) -> int | None:
        """Wait until no more acknowledgements arrive, and give up what is left then."""
        open_places = ledger.count_open(before)
        if open_places != self._open_places:
            self._open_places = open_places
            return None
        self._open_places = -1
        known = len(ledger.missing)
        for dispatcher, paths in downstream.routes:
            ledger.give_up(paths, before, dispatcher.waiting(epoch))
        return len(ledger.missing) - known


LossPolicy: TypeAlias = Redeliver | CountAsLost
