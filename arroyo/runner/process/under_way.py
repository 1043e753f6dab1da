"""`UnderWay`: the batch that the stage's code is in the midst of, and what of it has gone on.

A batch stays whole as long as it is through soon. If it is not, what has come of it goes on: the
stage's code is left between two messages for it, and where it stays with one, the attendant does
it meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from arroyo.codec import Batch
from arroyo.protocol.values.deliveries import Outcome, Work

WHOLE_S = 0.01
"""A batch that is through within this time isn't cut: batches are made for about so long."""
SLOW_S = 0.00025
"""Quicker messages are judged by the processor's time that they take, not by the clock: a process
that has to wait for a processor gains nothing from smaller batches, which cost more."""
BUSY_S = 0.0005
"""With so much of the processor's time, quick messages would have come on."""


class Advice(Enum):
    """What is to be done about a batch that is under way."""

    LEAVE = auto()
    """It will be through soon."""
    DOUBT = auto()
    """The code has not come on, but it may have had no processor: look again at once."""
    CUT = auto()
    """It takes too long: what is there should go on before the next message is worked on."""
    TAKE = auto()
    """The code stays with one message: what came of those before has to go on now."""


class Results(Protocol):
    """What has become of messages so far; it grows while the stage's code works."""

    def __len__(self) -> int: ...

    def so_far(self) -> Sequence[Outcome]:
        """Return what is there, from any thread; the last few may be missing."""
        ...


class UnderWay:
    """What is left of one batch while the stage's code works on it.

    Parameters
    ----------
    batch, work
        As `Relay.plan` takes and gives them.
    results
        Where the code appends what comes of each message.
    now
        When it begins, in s.
    """

    __slots__ = ("_cpu_s", "_doubts", "_results", "_seen", "_since", "batch", "gone", "work")

    def __init__(self, batch: Batch, work: Sequence[Work], results: Results, now: float) -> None:
        self.batch = batch
        self.work = work
        self.gone = 0
        """So many of the results have gone on."""
        self._results = results
        self._seen = 0
        self._cpu_s: float | None = None
        self._doubts = 0
        self._since = now

    @property
    def waiting(self) -> int:
        """How many messages are done and have not gone on."""
        return len(self._results) - self.gone

    def look(self, now: float, cpu_s: float) -> Advice:
        """Say what is to be done, from what has changed since the last look.

        `cpu_s`: the processor's time that the thread which works has had, in its whole life.
        """
        done = len(self._results)
        moved, self._seen = done - self._seen, done
        used_s = None if self._cpu_s is None else cpu_s - self._cpu_s
        self._cpu_s = cpu_s
        if self.waiting >= len(self.work):
            return Advice.LEAVE
        if not moved:
            self._doubts += 1
            is_busy = used_s is not None and used_s >= BUSY_S
            return Advice.TAKE if is_busy or self._doubts > 1 else Advice.DOUBT
        self._doubts = 0
        message_s = (now - self._since) / max(1, self.waiting)
        if message_s < SLOW_S:
            message_s = 0.0 if used_s is None else used_s / moved
        return Advice.CUT if message_s * len(self.work) > WHOLE_S else Advice.LEAVE

    def so_far(self) -> Sequence[Outcome]:
        """Return what has come of the work and not gone on, in the midst of it."""
        # Not all: with the last ones the whole batch is finished.
        return self._results.so_far()[self.gone :][: len(self.work) - 1]

    def note_gone(self, count: int, left: Batch, now: float) -> None:
        """So many messages have gone on; `left` is the header of the others."""
        self.batch, self.work = left, self.work[count:]
        self.gone += count
        self._since = now
