"""Paths: the numbered ways from a source to the stages where push-pull links end.

After Ball and Larus (1996): each edge gets a number such that the sum over a way is different
for each way and the sums have no gaps. A batch carries the sum so far, so no stage needs to know
more of the graph than its own edges. PURE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec


class Terminal(msgspec.Struct, frozen=True):
    """Where a path ends: a stage without push-pull links below it."""

    stage: str
    replicas: int


class PathTable:
    """The path numbers of one chain.

    `links`: for each stage the stages below it that it feeds by push-pull, in the file's order.
    There are no loops.
    """

    def __init__(self, links: Mapping[str, Sequence[str]], replicas: Mapping[str, int]) -> None:
        self._links = links
        self._replicas = replicas
        self._counts: dict[str, int] = {}

    def count(self, stage: str) -> int:
        """Number of paths from `stage` to where they end; 1 if it is such an end itself."""
        if stage not in self._counts:
            below = [self.count(name) for name in self._links[stage]]
            self._counts[stage] = sum(below) if below else 1
        return self._counts[stage]

    def edge(self, stage: str, below: str) -> int:
        """Return what a message from `stage` to `below` adds to its path."""
        former = self._links[stage][: self._links[stage].index(below)]
        return sum(map(self.count, former))

    def is_terminal(self, stage: str) -> bool:
        """Whether paths end at `stage`, so that it acknowledges."""
        return not self._links[stage]

    def terminals(self, source: str) -> list[Terminal]:
        """Return where each path from `source` ends, by path number."""
        if self.is_terminal(source):
            # Each of its replicas acknowledges what itself has sent.
            return [Terminal(source, 1)]
        return [Terminal(name, self._replicas[name]) for name in self._ends(source)]

    def _ends(self, stage: str) -> Iterator[str]:
        if self.is_terminal(stage):
            yield stage
        for below in self._links[stage]:
            yield from self._ends(below)
