"""`UnclosedRun`: a run whose Stop may be lacking, as the next life of its source finds it. PURE.

A source with an input that can't be read again asks its shell to note such runs before it acts
(`NoteRuns`). How far the open one has come is counted in words that outlive the process, written
before what they count leaves (`NoteCounts`); `runs_left` puts both together. Rules:
- A run is noted before its Start leaves, and until each replica of each terminal has its Stop.
- A Stop that has left is noted whole: stages that lack it get the same.
- What the listener handed over and the source had not sent is counted as lost with the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from arroyo.protocol.values.actions import Persist
from arroyo.protocol.values.run_totals import RunTotals

ATTEMPTS_OF_A_LIFE = 2**32
"""A source sends again less often than that, in one life."""
FORMER_RUNS = 64
"""So many runs are kept at most, the latest: receivers know no more of those that are over."""


class UnclosedRun(msgspec.Struct, frozen=True):
    """A run of a life that may be over."""

    run: str
    epoch: int
    base: int
    """Where its sequences count, and which is its first event."""
    start: Any = None
    """Its Start; None where it opened itself without one."""
    next: int | None = None
    frontier: int = 0
    """Sequences from `frontier` up to `next` had been sent and not acknowledged. `next` is the
    Stop's; None while the source lives and the run is open, and where it is unknown, since the
    words that counted it are gone, as after a reboot."""
    stop: Any = None
    """Its Stop, once it is known what it says. What was lost is counted by then."""
    unsent: int = 0
    """How many of its messages the listener had handed over that have no sequence, at least."""
    unseen: int = 0
    """So many more of those there may have been."""
    arrived: int = 0
    """How many sequences below `next` were finished, those above `frontier` too. 0: unknown."""
    filtered: int = 0
    skipped: int = 0
    quarantined: int = 0
    """Like the two before: how many of them ended on their way, as far as it is known."""
    attempt: int = 0
    """Greater than all attempts in which its Start and Stop have left; 0: of its own life only."""

    @property
    def sent(self) -> int:
        """How many of its messages have sequences."""
        return max(0, (self.next or 0) - self.base)

    @property
    def sent_finished(self) -> int:
        """How many of those, from the first on, had arrived without a gap."""
        return max(self.frontier, self.base) - self.base

    @property
    def in_flight(self) -> int:
        """Messages that had left and can't come again; some may have arrived all the same."""
        end = self.next or 0
        return max(0, end - max(self.frontier, self.base, self.arrived))

    @property
    def lost(self) -> int:
        """Messages that can't be sent again, as far as they were counted."""
        return self.in_flight + self.unsent

    @property
    def totals(self) -> RunTotals:
        """What its Stop says where the source died before it could."""
        if self.next is None:
            return RunTotals(complete=False)
        handed = self.sent + self.unsent
        return RunTotals(
            handed,
            self.filtered,
            self.skipped,
            self.quarantined,
            lost=self.lost,
            lost_at_most=self.lost + self.unseen,
            missing=self._missing,
            complete=False,
        )

    @property
    def _missing(self) -> list[list[int]] | None:
        """Where the lost ones are; None where some of those above the frontier had arrived."""
        if self.arrived > max(self.frontier, self.base):
            return None
        handed = self.sent + self.unsent
        return [[handed - self.lost, handed]] if self.lost else []


class NoteRuns(Persist, frozen=True):
    """The runs of a volatile source whose Stop may be lacking, oldest first."""

    runs: tuple[UnclosedRun, ...]


class NoteCounts(Persist, frozen=True):
    """Words for the status page, where the next life finds them."""

    next: int
    frontier: int
    """How many sequences there are, and how many of them are finished."""
    controls: int
    """How many of them are of no event that the listener handed over in this life."""


def runs_left(noted: Sequence[UnclosedRun], words: Mapping[str, int]) -> tuple[UnclosedRun, ...]:
    """Return which runs a life has left, by what was noted and of the words that it has left."""
    runs = [run for run in noted if run.next is not None]
    epoch, placed = words["epoch"], words["next"] - words["controls"]
    if any(run.epoch == epoch and run.stop is None for run in runs):
        return tuple(runs)  # done already, by a life that died before it had words of its own
    unsent, unseen = max(0, words["received"] - placed), words["unseen"]
    for run in noted:
        if run.next is None and run.epoch != epoch:
            runs.append(run)  # of a life whose words are gone
        elif run.next is None:
            counts = {word: words[word] for word in ("frontier", "arrived")}
            counts["next"] = max(words["next"], run.base)
            counts |= {end: words[f"run_{end}"] for end in ("filtered", "skipped", "quarantined")}
            if words["run_end"]:
                # What was handed over behind its end is of other runs.
                own = max(0, words["run_end"] - 1 - placed)
                runs.append(msgspec.structs.replace(run, unsent=own, **counts))
                unsent -= own
            else:
                runs.append(msgspec.structs.replace(run, unsent=unsent, unseen=unseen, **counts))
                unsent = unseen = 0
    if epoch and (unsent > 0 or unseen):
        # Of runs that no stage has heard of.
        runs.append(UnclosedRun("", epoch, 0, next=0, unsent=unsent, unseen=unseen))
    return tuple(runs[-FORMER_RUNS:])
