"""`Continuity`: counts that go on where those of a predecessor ended. PURE.

A process counts from zero, and a replica has many processes in its time. What a process counted
between the last look at it and its death is missing in the sums.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

Name = TypeVar("Name", bound=Hashable)


class _Life(NamedTuple, Generic[Name]):
    identity: int
    before: Mapping[Name, float]
    """Sums of all earlier lives."""
    counted: Mapping[Name, float]

    def sums(self) -> Mapping[Name, float]:
        return {name: self.before.get(name, 0) + count for name, count in self.counted.items()}


class Continuity(Generic[Name]):
    """Adds up what different counters count, by name, over all of their lives."""

    def __init__(self) -> None:
        self._lives: dict[Hashable, _Life[Name]] = {}

    def note(self, counter: Hashable, identity: int, counts: Mapping[Name, float]) -> None:
        """Take what a counter has counted in its present life; `identity` tells that from others.

        A counter has the same names in all of its lives. One may seem to have shrunk, since the
        words of a status page are of slightly different moments; then the greater count holds.
        """
        life = self._lives.get(counter)
        if life is None:
            life = _Life(identity, {}, counts)
        elif life.identity != identity:
            life = _Life(identity, life.sums(), counts)
        else:
            former = life.counted
            now = {name: max(former[name], count) for name, count in counts.items()}
            life = life._replace(counted=now)
        self._lives[counter] = life

    def sums(self, counter: Hashable) -> Mapping[Name, float]:
        """Return all that a counter has counted; empty where it was never noted."""
        life = self._lives.get(counter)
        return {} if life is None else life.sums()

    def keep_only(self, counters: Collection[Hashable]) -> None:
        """Forget all other counters."""
        self._lives = {key: life for key, life in self._lives.items() if key in counters}
