"""`Chain`: stages and links, checked, with defaults filled in. PURE.

Made by `reader`, or by hand in tests, and never changed.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from arroyo.identifiers import ReplicaName

from .event_names import EventName
from .schema import (
    Delivery,
    Link,
    OnEventTable,
    OnFailed,
    Order,
    Restart,
    SupervisorTable,
    WhenFull,
)

Role = Literal["listener", "operator", "publisher", "program"]


class Input(msgspec.Struct, frozen=True):
    """One link into a stage."""

    stage: str
    link: Link = "push-pull"


class Ready(msgspec.Struct, frozen=True):
    """How a program is known to be ready; one of these at most, or as soon as it runs."""

    notify: bool = False
    port: int | None = None
    log: str | None = None


THREAD_COUNTS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
"""Variables by which numerical libraries are told how many threads to start."""


class Stage(msgspec.Struct, frozen=True):
    """One stage; `schema.StageTable` says what each key means."""

    name: str
    role: Role
    target: str
    """``module:Class``; empty: it is a program."""
    command: tuple[str, ...] = ()
    """The program and its arguments, if it is one."""
    ready: Ready = Ready()
    options: dict[str, Any] = {}
    """As in the file; `runner.user_code.options` makes constructor arguments of them."""
    parameters: dict[str, Any] = {}
    """Their first values; never changed."""
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
    memory_max_bytes: int | None = None
    open_files: int | None = None
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


class Hook(msgspec.Struct, frozen=True):
    """A program that is run for events."""

    command: tuple[str, ...]
    events: tuple[EventName, ...] = ()
    """Which; none: all that are no INFO."""

    @classmethod
    def of(cls, found: list[str] | OnEventTable) -> Hook:
        """Make it of what the chain file says."""
        table = OnEventTable(found) if isinstance(found, list) else found
        return cls(tuple(table.command), tuple(table.events))


class Supervision(msgspec.Struct, frozen=True):
    """``[supervisor]`` in seconds and numbers."""

    max_restarts: int = 5
    within_s: float = 60.0
    chain_max_restarts: int = 20
    stop_timeout_s: float = 30.0
    on_failed: OnFailed = "hold"
    on_event: Hook | None = None
    http: str | None = None

    @classmethod
    def of(cls, table: SupervisorTable) -> Supervision:
        """Make it of the table in the chain file, of which quantities have been read."""
        return cls(
            max_restarts=table.max_restarts,
            within_s=float(table.within_s),
            chain_max_restarts=table.chain_max_restarts,
            stop_timeout_s=float(table.stop_timeout_s),
            on_failed=table.on_failed,
            on_event=None if table.on_event is None else Hook.of(table.on_event),
            http=table.http,
        )


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
    text: str = ""
    """The text that it was read from."""

    def environ(self, stage: Stage) -> dict[str, str]:
        """Return what the file adds to a stage's environment; the stage's own variables win.

        A stage with `cpus` has as many threads in numerical libraries, unless `env` says otherwise.
        They look at these variables when they are imported.
        """
        threads = dict.fromkeys(THREAD_COUNTS, str(len(stage.cpus))) if stage.cpus else {}
        return {**threads, **self.env, **stage.env}

    @property
    def on_one_host(self) -> bool:
        """Whether all stages share memory and a clock; one with `listen` may be elsewhere."""
        return all(stage.listen is None for stage in self.stages.values())

    def downstream(self, stage: str) -> tuple[tuple[Stage, Link], ...]:
        """Return the stages that have `stage` as an input, with the link, in the file's order."""
        return self._downstream[stage]

    @cached_property
    def _downstream(self) -> dict[str, tuple[tuple[Stage, Link], ...]]:
        found: dict[str, list[tuple[Stage, Link]]] = {name: [] for name in self.stages}
        for stage in self.stages.values():
            for source in stage.inputs:
                found[source.stage].append((stage, source.link))
        return {name: tuple(links) for name, links in found.items()}

    def senders(self, stage: str) -> dict[ReplicaName, Link]:
        """Return every replica that sends to `stage`, with the link."""
        inputs = self.stages[stage].inputs
        return {name: each.link for each in inputs for name in self.stages[each.stage].names}

    def subscriptions(self, stage: str) -> list[ReplicaName]:
        """Return every replica that sends to `stage` by pub-sub."""
        return [name for name, link in self.senders(stage).items() if link == "pub-sub"]

    def below(self, stage: str) -> tuple[Stage, ...]:
        """Return every stage that `stage` reaches by any links, nearest first, without itself."""
        seen: dict[str, Stage] = {}
        front = [stage]
        while front:
            links = [link for name in front for link in self.downstream(name)]
            front = [target.name for target, _ in links if target.name not in seen]
            seen.update((name, self.stages[name]) for name in front)
            front = list(dict.fromkeys(front))
        return tuple(seen.values())

    def above(self, stage: str) -> tuple[Stage, ...]:
        """Return every stage that reaches `stage` by any links, in the file's order."""
        return tuple(
            other for other in self.stages.values() if self.stages[stage] in self.below(other.name)
        )

    @property
    def programs(self) -> tuple[Stage, ...]:
        """Stages that are programs, in the file's order."""
        return tuple(stage for stage in self.stages.values() if stage.role == "program")

    def sources_above(self, stage: str) -> tuple[Stage, ...]:
        """Return every listener that reaches `stage` by any links, in the file's order."""
        return tuple(above for above in self.above(stage) if above.role == "listener")

    @cached_property
    def levels(self) -> tuple[tuple[Stage, ...], ...]:
        """Stages by their longest path from a source, sources first; programs are the last level.

        The others need them, so they start first and end last.
        """
        depth: dict[str, int] = {}

        def depth_of(name: str) -> int:
            if name not in depth:
                above = [depth_of(source.stage) for source in self.stages[name].inputs]
                depth[name] = 1 + max(above, default=-1)
            return depth[name]

        linked = [stage for stage in self.stages.values() if stage.role != "program"]
        count = 1 + max((depth_of(stage.name) for stage in linked), default=-1)
        by_level: list[list[Stage]] = [[] for _ in range(count)]
        for stage in linked:
            by_level[depth[stage.name]].append(stage)
        programs = [self.programs] if self.programs else []
        return (*map(tuple, by_level), *programs)

    @cached_property
    def replicas(self) -> tuple[ReplicaName, ...]:
        """Every replica of every stage, level by level from the sources down."""
        return tuple(name for level in self.levels for stage in level for name in stage.names)


def without_programs(chain: Chain) -> Chain:
    """Return the chain without its stages that are programs."""
    stages = {stage.name: stage for stage in chain.stages.values() if stage.role != "program"}
    return msgspec.structs.replace(chain, stages=stages)
