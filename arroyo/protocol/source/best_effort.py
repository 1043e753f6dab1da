"""`BestEffortSender`: it knows what is lost, and does not repair it. PURE.

PROTOCOL 58: window, acknowledgements and totals are those of any source; the messages themselves
are let go of when they have left. Start and Stop come again as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from arroyo.codec import Ack, Kind
from arroyo.protocol.recovery.volatile import VolatileSender
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.ranges import RangeSet
from arroyo.protocol.values.run_totals import RunTotals

from .input import MakeStop, Run
from .reliable_sender import GRACE_S, Surroundings


class BestEffortSender(VolatileSender):
    """What a listener replica sends whose chain says ``delivery = "best-effort"``."""

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        epoch: int,
        new_run: Callable[[], str],
        make_early_stop: Callable[[str], MakeStop],
    ) -> None:
        super().__init__(
            surroundings, epoch=epoch, new_run=new_run, make_early_stop=make_early_stop
        )
        self._missing = RangeSet()
        self._open_places = -1

    def _ship(
        self, batch: OutgoingBatch, tokens: Sequence[Any], now: float, *, handed: bool = True
    ) -> None:
        super()._ship(batch, tokens, now, handed=handed)
        if batch.header.kind == Kind.EVENTS and self._downstream.reliable:
            self.ledger.let_go_of_last()

    def acknowledge(self, ack: Ack, now: float) -> None:
        """Messages are finished, perhaps some that were given up."""
        if self._missing and self._is_ours(ack):
            self._find_again(ack)
        super().acknowledge(ack, now)

    def _is_ours(self, ack: Ack) -> bool:
        return not ack.taken and (ack.source, ack.epoch) == (str(self.name), self.epoch)

    def _find_again(self, ack: Ack) -> None:
        """What was given up has arrived all the same, if it is among what is acknowledged."""
        if not any(self._missing.common(*span) for span in ack.ranges):
            return  # as nearly always, however much is missing
        before = len(self._missing)
        for first, end in ack.ranges:
            rest = RangeSet(self._missing)
            self._missing = RangeSet(
                gap for span in rest for gap in RangeSet([(first, end)]).missing(*span)
            )
        self.lost -= before - len(self._missing)

    def _send_again(self, before: float, now: float) -> None:
        open_places = self.ledger.count_open(before)
        if open_places != self._open_places:
            # What was under way elsewhere still arrives; what is left when that ends is lost.
            self._open_places = open_places
            self._lost_at = before if self._lost_at is None else self._lost_at
            self._send_again_at = now + GRACE_S[1]
            return
        self._open_places = -1
        known = len(self._missing)
        for dispatcher, paths in self._downstream.routes:
            for first, end in self.ledger.give_up(paths, before, dispatcher.waiting(self.epoch)):
                self._missing.add(first, end)
        self.lost += len(self._missing) - known
        super()._send_again(before, now)
        self._advance(now)

    def _totals(self, run: Run) -> RunTotals:
        totals = super()._totals(run)
        totals.note_missing(self._missing, run.base)
        return totals

    def _open_run(self, *, implicit: bool) -> Run:
        self._missing = RangeSet()
        return super()._open_run(implicit=implicit)
