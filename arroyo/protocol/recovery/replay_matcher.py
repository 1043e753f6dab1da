"""`ReplayMatcher`: knows messages that a listener hands over again after a restart. PURE.

A replayable input begins again with the first message that was not acknowledged, in the same
order. So what comes is, in this order: what was finished just before the death; what was under
way, each in its old place; what is new. A place that is passed over is one whose message the
input has lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from .journal import NO_TOKEN, JournalState, Mark


class Fate(Enum):
    """What a message that is handed over is."""

    FINISHED = 0
    """Finished in the life before: only its acknowledgement is due."""
    AGAIN = 1
    """In flight when the life before ended: it takes its old place."""
    GONE = 2
    """No message but places whose messages the input has lost."""
    NEW = 3


class Part(NamedTuple):
    """Neighbours of one fate: positions from `first` up to `end` of what was handed over.

    For GONE, `end` - `first` places.
    """

    fate: Fate
    first: int
    end: int


class ReplayMatcher:
    """The places of a former life that are still open."""

    def __init__(self, memory: JournalState) -> None:
        self.over = False
        """Whether all that comes from now on is new."""
        self._places = {mark: place for place, mark in enumerate(memory.marks)}
        self._count = len(memory.marks)
        self._at = 0
        self.finished = memory.finished
        """Tokens that may come once more only to be acknowledged."""
        run, closing = memory.run, memory.closing
        self._start = None if run is None or run.implicit else run.mark
        self._stop = NO_TOKEN if closing is None else closing.mark
        self._untouched = True

    @property
    def open_places(self) -> int:
        """How many messages that were in flight have not come again."""
        return self._count - self._at

    def sort(self, marks: Sequence[Mark]) -> Iterator[Part]:
        """Say what the events with these tokens are, in their order."""
        self._untouched = False
        first = 0
        fate = None
        for index, mark in enumerate(marks):
            found, passed = self._find(mark)
            if fate is not None and (found is not fate or passed):
                yield Part(fate, first, index)
                first = index
            if passed:
                yield Part(Fate.GONE, 0, passed)
            fate = found
        if fate is not None:
            yield Part(fate, first, len(marks))

    def _find(self, mark: Mark) -> tuple[Fate, int]:
        """Return what an event is, and how many places it has passed over."""
        if self.over:
            return Fate.NEW, 0
        if mark in self.finished:
            return Fate.FINISHED, 0
        self.finished = ()
        place = self._places.get(mark, -1)
        if place < self._at:
            # Nothing that was in flight can come behind what is new.
            self.over = True
            return Fate.NEW, self.give_up()
        passed, self._at = place - self._at, place + 1
        self.over = self._at == self._count
        return Fate.AGAIN, passed

    def give_up(self) -> int:
        """The open places will not be filled; return how many there are."""
        left, self._at = self.open_places, self._count
        return left

    def knows_start(self, mark: Mark) -> bool:
        """Whether a Start is that of the run that is being resumed.

        One without a token is if nothing was handed over before it.
        """
        untouched, self._untouched = self._untouched, False
        return mark == self._start and (untouched or mark != NO_TOKEN)

    def knows_stop(self, mark: Mark) -> bool:
        """Whether a Stop has its place already."""
        self._untouched = False
        return mark != NO_TOKEN and mark == self._stop

    def has_finished(self, mark: Mark) -> bool:
        """Whether a Start or Stop was finished in the life before."""
        return mark in self.finished
