"""What the stages of a chain have counted in all their lives, and what follows for its end. PURE.

Rules:

- Only what happened in this life of the chain decides about its exit code. What a source finds
  that an earlier one has lost is told, and costs nothing.
- A source that ends with messages left has not delivered them, unless a later life of it goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from arroyo.config.graph import Chain, Stage
from arroyo.identifiers import ReplicaName
from arroyo.telemetry.status_words import INPUTS

UNWELL = 1
"""Exit code of a chain that has lost something, or left something undone."""
QUARANTINED = 65
"""Exit code of a chain that has done everything, but for messages in quarantine."""
ENDS = ("filtered", "skipped", "quarantined", "rejected", "dropped", "errors", "lost")
"""What is told of a stage only where there was any, by its names on the status page."""
_ADDED = ("received", "sent", "repeated", *ENDS)


class Verdict(NamedTuple):
    """How a chain has ended."""

    exit_code: int
    reasons: tuple[str, ...] = ()


class Totals:
    """Adds up the status pages that processes of a chain leave at their ends.

    Parameters
    ----------
    chain
        Whose processes.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._counted = {name: Counter[str]() for name in chain.stages}
        self._inputs = {name: Counter[str]() for name in chain.stages}
        self._left: dict[ReplicaName, int] = {}
        self._replayable: set[str] = set()
        self.lost_before: Counter[str] = Counter()
        """Messages of each source that an earlier life of the chain has lost."""

    def note(self, name: ReplicaName, page: Mapping[str, int]) -> None:
        """Add what a process has left on its page; one without a page has not begun."""
        if not page:
            return
        counted = self._counted[name.stage]
        for word in _ADDED:
            counted[word] += page.get(word, 0)
        for place, source in enumerate(self._chain.stages[name.stage].inputs[:INPUTS]):
            self._inputs[name.stage][source.stage] += page.get(f"input_{place}", 0)
        found = page.get("lost_before", 0)
        if name in self._left:
            counted["lost"] += found
        else:
            self.lost_before[name.stage] += found
        self._left[name] = page.get("unfinished", 0)
        if page.get("replayable"):
            self._replayable.add(name.stage)

    def of(self, stage: str) -> Mapping[str, int]:
        """Counts of a stage, by their names on the status page."""
        return self._counted[stage]

    def received_from(self, stage: str) -> Mapping[str, int]:
        """How many messages a stage has received from each of its inputs."""
        return self._inputs[stage]

    def not_delivered(self, stage: str) -> int:
        """How many messages the last lives of a source have left unfinished."""
        return sum(left for name, left in self._left.items() if name.stage == stage)

    def verdict(self, trouble: Verdict, *, waiting: int) -> Verdict:
        """Judge the end of the chain.

        Parameters
        ----------
        trouble
            What went wrong with its processes.
        waiting
            Messages that are in quarantine now: what was brought back meanwhile has arrived.
        """
        reasons = [*trouble.reasons, *self._losses()]
        code = trouble.exit_code or (UNWELL if reasons else 0)
        aside = min(waiting, sum(counted["quarantined"] for counted in self._counted.values()))
        if aside:
            are = f"{say_messages(aside)} {'is' if aside == 1 else 'are'} in quarantine"
            reasons.append(f"{are}; see: arroyo quarantine list {self._chain.name}")
            code = code or QUARANTINED
        return Verdict(code, tuple(reasons))

    def _losses(self) -> list[str]:
        lossless = lossless_stages(self._chain)
        found = []
        for name in self._chain.stages:
            if name not in lossless:
                continue
            if lost := self._counted[name]["lost"]:
                found.append(f"{say_messages(lost)} of {name} lost")
            if left := self.not_delivered(name):
                again = "they come again at the next start"
                gone = "its input can't be read again"
                what_follows = again if name in self._replayable else gone
                found.append(f"up to {say_messages(left)} of {name} not delivered ({what_follows})")
        return found


def lossless_stages(chain: Chain) -> set[str]:
    """Stages that nothing may be lost on: reached from a source by push-pull links only."""
    found: set[str] = set()
    for level in chain.levels:
        for stage in level:
            if _is_lossless(stage, found):
                found.add(stage.name)
    return found


def _is_lossless(stage: Stage, above: set[str]) -> bool:
    return stage.delivery == "reliable" and all(
        source.link == "push-pull" and source.stage in above for source in stage.inputs
    )


def say_messages(count: int) -> str:
    """Say how many messages."""
    return "1 message" if count == 1 else f"{count:,} messages"
