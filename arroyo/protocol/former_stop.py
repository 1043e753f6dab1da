"""`FormerStop`: the Stop of a run that died with the former life of its source. PURE.

It has a place in the ledger of this life, so that it comes again to whoever was not there. Below,
it has the epoch and the sequence that it would have had, since that is how its run is known.
"""

from __future__ import annotations

import msgspec

from arroyo.codec import Ack, Kind

from .loads import Load
from .runs import FormerRun


class FormerStop:
    """Start and Stop of the former run between this life's ledger and the stages below.

    Parameters
    ----------
    former
        What the former life has left.
    place
        Sequence of the Stop in the ledger of this life.
    incarnation
        Of this life: attempts count up from it, since those of the former one were less.
    """

    def __init__(self, former: FormerRun, place: int, incarnation: int) -> None:
        self.place = place
        self._former = former
        self._incarnation = incarnation

    def address(self, load: Load) -> Load:
        """Give a Start or Stop of this life's ledger its header of the former life."""
        former = self._former
        first = former.next if load.header.kind == Kind.STOP else former.base - 1
        header = msgspec.structs.replace(
            load.header,
            epoch=former.epoch,
            frontier=former.frontier,
            attempt=self._incarnation + load.header.attempt,
            ranges=((first, first + 1),),
        )
        return Load(header, load.items, load.size)

    def translate(self, ack: Ack) -> Ack | None:
        """Say of an acknowledgement to the former life what it means for this ledger.

        None for those that came too late: of all that the former life has sent, only the Stop
        still counts.
        """
        number = self._former.next
        if ack.taken or ack.epoch != self._former.epoch:
            return None
        if not any(first <= number < end for first, end in ack.ranges):
            return None
        ranges = ((self.place, self.place + 1),)
        return msgspec.structs.replace(ack, ranges=ranges, tombstones=(), fragments=())
