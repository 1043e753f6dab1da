"""`CountChanges`: which stages have put messages into quarantine, or lost some. PURE.

A stage that does so all the time is told of once a minute, or its events would push out all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from arroyo.identifiers import ReplicaName

EVERY_S = 60.0
"""From one change of a replica that is told to the next one; the first is told at once."""
Counted = Literal["quarantined", "lost", "lost_before"]
_WORDS: Mapping[Counted, tuple[str, ...]] = {
    "quarantined": ("quarantined",),
    "lost": ("lost",),
    "lost_before": ("lost_before", "unseen_before"),
}
"""Words of the status page that make up each count."""


class Change(NamedTuple):
    """So many messages more of a replica are in quarantine, or lost, perhaps by the life before."""

    what: Counted
    replica: ReplicaName
    more: int


class CountChanges:
    """Compares the status pages of replicas with what was told of them."""

    def __init__(self) -> None:
        self._told: dict[ReplicaName, dict[Counted, int]] = {}
        self._lives: dict[ReplicaName, int] = {}
        self._next_at: dict[ReplicaName, float] = {}

    def look(
        self, replica: ReplicaName, page: Mapping[str, int], now: float, *, last: bool = False
    ) -> Iterator[Change]:
        """Yield what has grown; nothing if it is too early, unless it is the `last` page."""
        if not page or (not last and now < self._next_at.get(replica, 0.0)):
            return
        if self._lives.get(replica) != page["incarnation"]:
            self._lives[replica], self._told[replica] = page["incarnation"], {}
        told = self._told[replica]
        for what, words in _WORDS.items():
            count = sum(page.get(word, 0) for word in words)
            if grown := max(0, count - told.get(what, 0)):
                told[what] = count
                self._next_at[replica] = now + EVERY_S
                yield Change(what, replica, grown)
