"""What goes into a source, and the runs that come of it. PURE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from arroyo.codec import Kind, Returned
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.run_totals import RunTotals

MakeStop: TypeAlias = Callable[[RunTotals], Any]
"""Makes the item of a Stop, of the run's totals."""


class InputBatch(msgspec.Struct):
    """What a listener handed over.

    Attributes
    ----------
    kind, items, tokens, keys, size
        Events come many at a time, Start and Stop alone; one token per item.
    make_stop
        For Stop: makes its item of the totals, which are known when it leaves.
    enters
        For a message that is brought back: see `Batch.enters`; with it goes ``returned``.
    handed_ns
        When the oldest of them came (monotonic); 0: nobody knows.
    """

    kind: Kind
    items: Sequence[Any] = ()
    tokens: Sequence[Any] = ()
    size: int = 0
    keys: Sequence[int] | None = None
    make_stop: MakeStop | None = None
    enters: str = ""
    handed_ns: int = 0
    returned: Returned | None = None


class Run(msgspec.Struct):
    """The run that is open: `base` is the sequence of its first event, `start` its Start."""

    name: str
    implicit: bool
    base: int
    start: OutgoingBatch | None = None
