"""`UnclosedRun`: a run whose Stop somebody may lack, as the next life of its source finds it. PURE.

A source with an input that can't be read again asks its shell to note such runs before it acts
(`NoteRuns`). How far the open one has come is counted in words that outlive the process, written
before what they count leaves (`NoteCounts`); `settle` puts both together. Rules:
- A run is noted before its Start leaves, and until each replica of each terminal has its Stop.
- A Stop that has left is noted whole: whoever lacks it gets the same.
- What the listener handed over and the source had not sent is counted as lost with the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from arroyo.protocol.values.run_totals import RunTotals

ATTEMPTS_OF_A_LIFE = 2**32
"""A source sends again less often than that, in one life."""
FORMER_RUNS = 64
"""So many runs are kept at most, the latest: receivers know no more of those that are over."""


class UnclosedRun(msgspec.Struct, frozen=True):
    """A run of a life that may be over.

    Attributes
    ----------
    run
        Its name.
    epoch, base
        Where its sequences count, and which is its first event.
    start
        Its Start; None where it opened itself without one.
    next, frontier
        Sequences from `frontier` up to `next` had been sent, and nobody had acknowledged them.
        `next` is the Stop's; None while the source lives and the run is open, and where nobody
        knows, since the words that counted it are gone, as after a reboot.
    stop
        Its Stop, once it is known what it says. What was lost is counted by then.
    unsent
        How many of its messages the listener had handed over that have no sequence, at least.
    unseen
        So many more of those there may have been.
    attempt
        Greater than all attempts in which its Start and Stop have left; 0: of its own life only.
    """

    run: str
    epoch: int
    base: int
    start: Any = None
    next: int | None = None
    frontier: int = 0
    stop: Any = None
    unsent: int = 0
    unseen: int = 0
    attempt: int = 0

    @property
    def sent(self) -> int:
        """How many of its messages have sequences."""
        return max(0, (self.next or 0) - self.base)

    @property
    def under_way(self) -> int:
        """Messages that had left and can't come again; some may have arrived all the same."""
        return max(0, (self.next or 0) - max(self.frontier, self.base))

    @property
    def lost(self) -> int:
        """Messages that nobody can send again, as far as they were counted."""
        return self.under_way + self.unsent

    @property
    def totals(self) -> RunTotals:
        """What its Stop says where the source died before it could."""
        if self.next is None:
            return RunTotals(complete=False)
        handed = self.sent + self.unsent
        return RunTotals(
            handed,
            lost=self.lost,
            lost_at_most=self.lost + self.unseen,
            missing=[[handed - self.lost, handed]] if self.lost else [],
            complete=False,
        )


class NoteRuns(NamedTuple):
    """Action: write down these runs, oldest first, before anything that comes after it is done."""

    runs: tuple[UnclosedRun, ...]


class NoteCounts(NamedTuple):
    """Action: keep these words where the next life finds them, before what they count leaves.

    Attributes
    ----------
    next, frontier
        How many sequences there are, and how many of them are finished.
    controls
        How many of them are of no event that the listener handed over in this life.
    """

    next: int
    frontier: int
    controls: int


def settle(noted: Sequence[UnclosedRun], words: Mapping[str, int]) -> tuple[UnclosedRun, ...]:
    """Say which runs a life has left, of what was noted and of the words that it has left.

    Parameters
    ----------
    noted
        The last `NoteRuns`.
    words
        Those of a status page; see there.
    """
    runs = [run for run in noted if run.next is not None]
    epoch, placed = words["epoch"], words["next"] - words["controls"]
    if any(run.epoch == epoch and run.stop is None for run in runs):
        return tuple(runs)  # done already, by a life that died before it had words of its own
    unsent, unseen = max(0, words["received"] - placed), words["unseen"]
    for run in noted:
        if run.next is None and run.epoch != epoch:
            runs.append(run)  # of a life whose words are gone
        elif run.next is None:
            counts = {"next": max(words["next"], run.base), "frontier": words["frontier"]}
            if words["run_end"]:
                # What was handed over behind its end is of other runs.
                own = max(0, words["run_end"] - 1 - placed)
                runs.append(msgspec.structs.replace(run, unsent=own, **counts))
                unsent -= own
            else:
                runs.append(msgspec.structs.replace(run, unsent=unsent, unseen=unseen, **counts))
                unsent = unseen = 0
    if epoch and (unsent > 0 or unseen):
        # Of runs that nobody has heard of.
        runs.append(UnclosedRun("", epoch, 0, next=0, unsent=unsent, unseen=unseen))
    return tuple(runs[-FORMER_RUNS:])
