"""What goes into a source, and the runs that come of it. PURE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from arroyo.codec import Kind

from .loads import Load

MakeStop: TypeAlias = Callable[[dict[str, Any]], Any]
"""Makes the item of a Stop, of the run's totals."""


@dataclass(slots=True)
class Intake:
    """What a listener handed over.

    Attributes
    ----------
    kind, items, tokens, keys, size
        Events come many at a time, Start and Stop alone; one token per item.
    make_stop
        For Stop: makes its item of the totals, which are known when it leaves.
    enters
        For a message that is brought back: see `Batch.enters`.
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


class FormerRun(NamedTuple):
    """What the life before this one of the source left open.

    Attributes
    ----------
    run
        Its name; empty where none was open, and only messages without a Start are missing.
    epoch, base
        Where its sequences count, and which is its first event.
    next, frontier
        Sequences from `frontier` up to `next` had been sent, and nobody had acknowledged them.
    start
        Its Start, encoded.
    """

    run: str
    epoch: int
    base: int
    next: int
    frontier: int
    start: bytes = b""

    @property
    def lost(self) -> int:
        """Messages that nobody can send again; some of them may have arrived all the same."""
        return max(0, self.next - max(self.frontier, self.base))

    @property
    def totals(self) -> dict[str, Any]:
        """What its Stop says."""
        first = max(self.frontier - self.base, 0)
        return {
            "sent": self.next - self.base,
            "filtered": 0,
            "skipped": 0,
            "quarantined": 0,
            "dropped": 0,
            "lost": self.lost,
            "missing": [[first, self.next - self.base]] if self.lost else [],
            "complete": False,
        }


@dataclass(slots=True)
class Run:
    """The run that is open: `base` is the sequence of its first event, `load` its Start."""

    name: str
    implicit: bool
    base: int
    load: Load | None = None
