"""What a sender does about messages that may be lost: `Redeliver`, or `CountAsLost`. PURE.

This is another question than what it knows of a life before its own (`recovery`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from arroyo.codec import Ack, Kind
from arroyo.protocol.sending.dispatcher import Dispatcher
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.ranges import RangeSet
from arroyo.protocol.values.run_totals import RunTotals

from .ledger import Ledger

Routes: TypeAlias = Sequence[tuple[Dispatcher, range]]


class Loss(Protocol):
    """The policy of one sender."""

    def begin_run(self) -> None:
        """A run begins, for whose Stop what is lost is counted."""

    def sent(self, ledger: Ledger, batch: OutgoingBatch) -> None:
        """The batch entered last has left."""

    def find_again(self, ack: Ack) -> int:
        """Return how many messages that were counted as lost have arrived all the same."""

    def give_up(self, ledger: Ledger, routes: Routes, epoch: int, before: float) -> int | None:
        """Return how many messages that left at a time or earlier are lost now.

        None: something of it still arrives; ask again later, before anything is sent again.
        """

    def add_to(self, totals: RunTotals, base: int) -> None:
        """Tell in a run's totals what is lost of it."""


class Redeliver:
    """Everything is kept until it is finished, and sent again: nothing is lost."""

    def begin_run(self) -> None:
        """Nothing is lost."""

    def sent(self, ledger: Ledger, batch: OutgoingBatch) -> None:
        """The ledger keeps it."""

    def find_again(self, ack: Ack) -> int:
        """Nothing was lost."""
        return 0

    def give_up(self, ledger: Ledger, routes: Routes, epoch: int, before: float) -> int | None:
        """Nothing is given up."""
        return 0

    def add_to(self, totals: RunTotals, base: int) -> None:
        """Nothing is missing."""


class CountAsLost:
    """It is known what is lost, and not repaired: ``delivery = "best-effort"``.

    PROTOCOL 58: window, acknowledgements and totals are those of any source; the messages
    themselves are let go of when they have left. Start and Stop come again as ever.
    """

    def __init__(self) -> None:
        self._missing = RangeSet()
        self._open_places = -1

    def begin_run(self) -> None:
        """Count anew."""
        self._missing = RangeSet()

    def sent(self, ledger: Ledger, batch: OutgoingBatch) -> None:
        """Keep no more of it than what has to be given back one day."""
        if batch.header.kind == Kind.EVENTS:
            ledger.let_go_of_last()

    def find_again(self, ack: Ack) -> int:
        """What was given up has arrived, if it is among what is acknowledged."""
        if not any(self._missing.common(*span) for span in ack.ranges):
            return 0  # as nearly always, however much is missing
        before = len(self._missing)
        for first, end in ack.ranges:
            rest = RangeSet(self._missing)
            self._missing = RangeSet(
                gap for span in rest for gap in RangeSet([(first, end)]).missing(*span)
            )
        return before - len(self._missing)

    def give_up(self, ledger: Ledger, routes: Routes, epoch: int, before: float) -> int | None:
        """What was under way elsewhere still arrives; what is left when that ends is lost."""
        open_places = ledger.count_open(before)
        if open_places != self._open_places:
            self._open_places = open_places
            return None
        self._open_places = -1
        known = len(self._missing)
        for dispatcher, paths in routes:
            for first, end in ledger.give_up(paths, before, dispatcher.waiting(epoch)):
                self._missing.add(first, end)
        return len(self._missing) - known

    def add_to(self, totals: RunTotals, base: int) -> None:
        """Name what is missing."""
        totals.note_missing(self._missing, base)
