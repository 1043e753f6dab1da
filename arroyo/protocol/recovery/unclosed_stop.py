"""`UnclosedStop`: the Stop of a run of a former life of its source. PURE.

It has a place in the ledger of this life, so that it comes again to whoever was not there. Below,
it has the epoch and the sequence of the former life, since that is how its run is known.
"""

from __future__ import annotations

import msgspec

from arroyo.codec import Ack, Kind
from arroyo.protocol.values.batches import OutgoingBatch

from .unclosed_run import UnclosedRun


class UnclosedStop:
    """Start and Stop of a former run between this life's ledger and the stages below.

    Parameters
    ----------
    former
        What is known of the run.
    place
        Sequence of the Stop in the ledger of this life.
    start
        The run's Start, for whoever has not heard it; None where the run had none.
    """

    def __init__(self, former: UnclosedRun, place: int, start: OutgoingBatch | None) -> None:
        assert former.next is not None
        self.former = former
        self._place = place
        self._number = former.next
        self._start = start

    def loads(self, stop: OutgoingBatch) -> tuple[OutgoingBatch, ...]:
        """Return what leaves for the Stop of this life's ledger."""
        attempt = stop.header.attempt
        last = self._address(stop, attempt)
        return (last,) if self._start is None else (self._address(self._start, attempt), last)

    def _address(self, load: OutgoingBatch, attempt: int) -> OutgoingBatch:
        former = self.former
        first = self._number if load.header.kind == Kind.STOP else former.base - 1
        header = msgspec.structs.replace(
            load.header,
            epoch=former.epoch,
            frontier=former.frontier,
            attempt=former.attempt + attempt,
            ranges=((first, first + 1),),
        )
        return OutgoingBatch(header, load.items, load.size)

    def translate(self, ack: Ack) -> tuple[tuple[int, int], ...]:
        """Say of an acknowledgement to the former life what it finishes in this ledger.

        Nothing, where it came too late: of all that the former life has sent, only the Stop
        still counts.
        """
        if ack.taken or ack.epoch != self.former.epoch:
            return ()
        if not any(first <= self._number < end for first, end in ack.ranges):
            return ()
        return ((self._place, self._place + 1),)
