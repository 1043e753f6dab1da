"""The chain as the other parts see it: stages and links, checked, with defaults filled in.

PURE: made by `reader`, by hand in tests, and never changed.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from arroyo.identifiers import ReplicaName

from .schema import Delivery, Link, OnFailed, Order, Restart, WhenFull

Role = Literal["listener", "operator", "publisher"]


class Input(msgspec.Struct, frozen=True):
    """One link into a stage."""

    stage: str
    link: Link = "push-pull"


class Stage(msgspec.Struct, frozen=True):
    """One stage; what a key means is said in `schema.StageTable`."""

    name: str
    role: Role
    target: str
    """``module:Class``."""
    options: dict[str, Any] = {}
    """As in the file; `runner.options` makes of them what the class takes."""
    inputs: tuple[Input, ...] = ()
    replicas: int = 1
    order: Order = "any"
    dispatch_key: str | None = None
    """Metadata field of ``dispatch = "key:FIELD"``; None: balanced."""
    on_error: Literal["quarantine", "skip", "retry", "crash"] = "quarantine"
    retries: int = 0
    restart: Restart = "on-failure"
    backoff_s: float = 0.5
    process_timeout_s: float = 30.0
    """0: no limit."""
    start_timeout_s: float = 60.0
    cpus: tuple[int, ...] = ()
    nice: int = 0
    env: dict[str, str] = {}
    listen: str | None = None
    window: int = 65_536
    window_bytes: int = 256 * 1024 * 1024
    when_full: WhenFull = "block"
    delivery: Delivery = "reliable"

    @property
    def names(self) -> tuple[ReplicaName, ...]:
        """Its replicas, in order."""
        return tuple(ReplicaName(self.name, number) for number in range(self.replicas))


class Supervision(msgspec.Struct, frozen=True):
    """``[supervisor]`` in seconds and numbers."""

    max_restarts: int = 5
    within_s: float = 60.0
    chain_max_restarts: int = 20
    stop_timeout_s: float = 30.0
    on_failed: OnFailed = "hold"


class Chain(msgspec.Struct, frozen=True, dict=True):
    """A whole chain. `stages` is in the order of the file; the links have no loops."""

    name: str
    folder: Path
    """Folder of the chain file: working directory of every stage."""
    path: Path
    """The chain file itself, absolute."""
    stages: dict[str, Stage]
    messages: tuple[str, ...] = ()
    env: dict[str, str] = {}
    supervision: Supervision = Supervision()

    @property
    def on_one_host(self) -> bool:
        """Whether all stages share memory and a clock: those that `listen` may be elsewhere."""
        return all(stage.listen is None for stage in self.stages.values())

    def downstream(self, stage: str) -> tuple[tuple[Stage, Link], ...]:
        """Stages that take `stage` as an input, with the kind of link, in the file's order."""
        return self._downstream[stage]

    @cached_property
    def _downstream(self) -> dict[str, tuple[tuple[Stage, Link], ...]]:
        found: dict[str, list[tuple[Stage, Link]]] = {name: [] for name in self.stages}
        for stage in self.stages.values():
            for source in stage.inputs:
                found[source.stage].append((stage, source.link))
        return {name: tuple(links) for name, links in found.items()}

    def below(self, stage: str) -> tuple[Stage, ...]:
        """Every stage that `stage` reaches by any links, nearest first, itself left out."""
        seen: dict[str, Stage] = {}
        front = [stage]
        while front:
            links = [link for name in front for link in self.downstream(name)]
            front = [target.name for target, _ in links if target.name not in seen]
            seen.update((name, self.stages[name]) for name in front)
            front = list(dict.fromkeys(front))
        return tuple(seen.values())

    def sources_above(self, stage: str) -> tuple[Stage, ...]:
        """Every listener that reaches `stage` by any links, in the file's order."""
        return tuple(
            source
            for source in self.stages.values()
            if source.role == "listener" and self.stages[stage] in self.below(source.name)
        )

    def above(self, stage: str) -> tuple[Stage, ...]:
        """Every stage that reaches `stage` by any links, in the file's order."""
        return tuple(
            other for other in self.stages.values() if self.stages[stage] in self.below(other.name)
        )

    @cached_property
    def levels(self) -> tuple[tuple[Stage, ...], ...]:
        """Stages by their longest way from a source, sources first."""
        depth: dict[str, int] = {}

        def depth_of(name: str) -> int:
            if name not in depth:
                above = [depth_of(source.stage) for source in self.stages[name].inputs]
                depth[name] = 1 + max(above, default=-1)
            return depth[name]

        count = 1 + max(map(depth_of, self.stages), default=-1)
        by_level: list[list[Stage]] = [[] for _ in range(count)]
        for stage in self.stages.values():
            by_level[depth[stage.name]].append(stage)
        return tuple(map(tuple, by_level))

    @cached_property
    def replicas(self) -> tuple[ReplicaName, ...]:
        """Every replica of every stage, level by level from the sources down."""
        return tuple(name for level in self.levels for stage in level for name in stage.names)
