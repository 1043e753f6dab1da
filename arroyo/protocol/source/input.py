"""`InputBatch`: what a listener hands to its source; and `Run`, which is open there. PURE."""

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
    """Messages that a listener handed over together: many events, or one Start or Stop."""

    kind: Kind
    items: Sequence[Any] = ()
    tokens: Sequence[Any] = ()
    """One per item, if there are any."""
    size: int = 0
    keys: Sequence[int] | None = None
    make_stop: MakeStop | None = None
    """For Stop and its announcement: makes its item of the totals, which are known when it
    leaves."""
    enters: str = ""
    """For a message that is brought back: see `Batch.enters`; with it goes ``returned``."""
    handed_ns: int = 0
    """When the oldest of them came (monotonic); 0: unknown."""
    returned: Returned | None = None
    gap: bool = False
    """Whether these are places whose events the input has lost; the items are None."""


class Run(msgspec.Struct):
    """An open run: `base` is the sequence of its first event, `start` its Start, if it has one."""

    name: str
    implicit: bool
    base: int
    start: OutgoingBatch | None = None
