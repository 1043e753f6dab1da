"""`BatchProgress`: the batch that the stage's code works on, and the part of it that has gone on.

A batch stays whole as long as it is through soon. If it is not, what has come of it goes on: the
stage's code is left between two messages for it, and where it stays with one, the link thread does
it meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from arroyo.codec import Batch
from arroyo.protocol.values.deliveries import Outcome, Work
from arroyo.runner.user_code.results import ListedResults, Results

WHOLE_S = 0.01
"""A batch that is through within this time isn't cut: batches are made for about so long."""
STAYS_S = 0.0005
"""In so much time quick messages would have come on."""


class Advice(Enum):
    """What to do about the batch that the code works on."""

    LEAVE = auto()
    """It will be through soon."""
    DOUBT = auto()
    """The code has not come on, but it may have had no processor: look again at once."""
    CUT = auto()
    """It takes too long: what is there should go on before the next message is worked on."""
    TAKE = auto()
    """The code stays with one message: what came of those before has to go on now."""


class BatchProgress:
    """The rest of one batch while the stage's code works on it.

    Parameters
    ----------
    batch, work
        As `Relay.plan` takes and gives them.
    now
        When it begins, in s, by a clock that stands still while the thread that works waits for a
        processor: it gains nothing from smaller batches then, which cost more. See `RunningClock`.
    """

    __slots__ = ("_looked", "_results", "_seen", "_since", "batch", "gone", "work")

    def __init__(
        self, batch: Batch, work: Sequence[Work], results: Results | ListedResults, now: float
    ) -> None:
        self.batch = batch
        self.work = work
        self.gone = 0
        """Number of results that have gone on."""
        self._results = results
        self._seen = 0
        self._since = self._looked = now

    @property
    def waiting(self) -> int:
        """Number of messages that are done and have not gone on."""
        return len(self._results) - self.gone

    def look(self, now: float) -> Advice:
        """Say what is to be done, from what has changed since the last look."""
        done = len(self._results)
        if self.waiting >= len(self.work):
            return Advice.LEAVE
        if done == self._seen:
            return Advice.TAKE if now - self._looked >= STAYS_S else Advice.DOUBT
        self._seen, self._looked = done, now
        message_s = (now - self._since) / max(1, self.waiting)
        return Advice.CUT if message_s * len(self.work) > WHOLE_S else Advice.LEAVE

    def so_far(self) -> Sequence[Outcome]:
        """Return the results that have not gone on, while the code works; not the last one."""
        # Not all: with the last ones the whole batch is finished.
        return self._results.so_far()[self.gone :][: len(self.work) - 1]

    def note_gone(self, count: int, left: Batch, now: float) -> None:
        """So many messages have gone on; `left` is the header of the others."""
        self.batch, self.work = left, self.work[count:]
        self.gone += count
        self._since = self._looked = now
