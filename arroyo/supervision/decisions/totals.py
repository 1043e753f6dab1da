"""Counts of a chain's stages, over all processes that they had, and its exit status. PURE.

Rules:

- Only this run of the supervisor decides about the exit code. Losses of an earlier run that a
  source finds are reported, but do not count.
- What a source had in flight at its death may have arrived, so what its next life calls lost is
  told as a bound.
- Messages that a source leaves at its end are not delivered, unless a later process goes on with
  them.
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
"""Counts that are reported only if they are not 0, by their names on the status page."""
_ADDED = ("received", "sent", "repeated", *ENDS)


class ExitStatus(NamedTuple):
    """Exit code of a chain, and the reasons for it."""

    exit_code: int
    reasons: tuple[str, ...] = ()


class Totals:
    """Adds up the status pages that processes of a chain leave at their ends."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._counted = {name: Counter[str]() for name in chain.stages}
        self._inputs = {name: Counter[str]() for name in chain.stages}
        self._left: dict[ReplicaName, int] = {}
        self._replayable: set[str] = set()
        self.lost_before: Counter[str] = Counter()
        """Messages of each source that were lost before this supervisor started, at most."""
        self._unsure: Counter[str] = Counter()
        """How many more may have been lost when sources died in this run."""

    def note(self, name: ReplicaName, page: Mapping[str, int]) -> None:
        """Add the last status page of a process. One without a page has not begun to work."""
        if not page:
            return
        counted = self._counted[name.stage]
        for word in _ADDED:
            counted[word] += page.get(word, 0)
        for place, source in enumerate(self._chain.stages[name.stage].inputs[:INPUTS]):
            self._inputs[name.stage][source.stage] += page.get(f"input_{place}", 0)
        found, unseen = page.get("lost_before", 0), page.get("unseen_before", 0)
        if name not in self._left:
            self.lost_before[name.stage] += found + unseen
        elif found or unseen:
            counted["lost"] += found
            self._unsure[name.stage] += unseen
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

    def exit_status(self, trouble: ExitStatus, *, waiting: int) -> ExitStatus:
        """Return how the chain has ended.

        `trouble`: the outcome by its processes alone.
        `waiting`: messages that are in quarantine now. One that was requeued has arrived.
        """
        reasons = [*trouble.reasons, *self._losses()]
        code = trouble.exit_code or (UNWELL if reasons else 0)
        aside = min(waiting, sum(counted["quarantined"] for counted in self._counted.values()))
        if aside:
            are = f"{say_messages(aside)} {'is' if aside == 1 else 'are'} in quarantine"
            reasons.append(f"{are}; see: arroyo quarantine list {self._chain.name}")
            code = code or QUARANTINED
        return ExitStatus(code, tuple(reasons))

    def _losses(self) -> list[str]:
        lossless = lossless_stages(self._chain)
        found = []
        for name in self._chain.stages:
            if name not in lossless:
                continue
            if lost := self._counted[name]["lost"] + self._unsure[name]:
                at_most = "up to " if name in self._unsure else ""
                found.append(f"{at_most}{say_messages(lost)} of {name} lost")
            if left := self.not_delivered(name):
                again = "they come again at the next start"
                gone = "its input can't be read again"
                what_follows = again if name in self._replayable else gone
                found.append(f"up to {say_messages(left)} of {name} not delivered ({what_follows})")
        return found


def lossless_stages(chain: Chain) -> set[str]:
    """Return the stages where nothing may be lost: all links from the sources are push-pull."""
    found: set[str] = set()
    for level in chain.levels:
        for stage in level:
            if _is_lossless(stage, found):
                found.add(stage.name)
    return found


def _is_lossless(stage: Stage, above: set[str]) -> bool:
    return (
        stage.role != "program"
        and stage.delivery == "reliable"
        and all(source.link == "push-pull" and source.stage in above for source in stage.inputs)
    )


def say_messages(count: int) -> str:
    """Return a number of messages in words."""
    return "1 message" if count == 1 else f"{count:,} messages"
