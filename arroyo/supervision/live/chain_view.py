"""`ChainView`: a chain at one moment, with what the snapshots before it tell. PURE.

`ChainWatch` takes one snapshot after the other. A figure compares the last one with that of a few
seconds before, as counters are written to the status pages five times a second only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from arroyo.config.graph import Chain, Role
from arroyo.config.schema import Link
from arroyo.supervision.decisions.events import State
from arroyo.supervision.reporting.snapshot import Snapshot
from arroyo.supervision.reporting.status_table import notes
from arroyo.telemetry.histogram import merge, quantile_s

from .bottleneck import Bottleneck, find_bottleneck
from .figures import Figures, Reading, figures_of, together
from .last_minute import LastMinute

SPAN_S = 3.0
"""Figures are of about so long."""
_WORST = (
    *(State.FAILED, State.BACKOFF, State.DEGRADED, State.STARTING, State.DRAINING),
    *(State.READY, State.STOPPED),
)


class ReplicaView(msgspec.Struct, frozen=True):
    """One replica."""

    name: str
    """As in logs: ``STAGE.R``."""
    state: str
    pid: int | None
    waits_outside: bool
    """Whether its code has said that it waits for the outside world."""
    figures: Figures


class StageView(msgspec.Struct, frozen=True):
    """One stage; its figures are those of its replicas together."""

    name: str
    role: Role
    inputs: tuple[tuple[str, Link], ...]
    depth: int
    """How many links are between it and its source, by the way that `arroyo graph` draws."""
    state: str
    """Worst of its replicas'; STOPPED only if all are, as some may be on purpose."""
    replicas: tuple[ReplicaView, ...]
    figures: Figures
    in_flight_max: int | None
    """Bound of a listener's messages in flight; None: it has no such bound."""
    minute: tuple[float | None, ...]
    """Messages received per second over the last minute, as `LastMinute.means`."""


class ChainView(msgspec.Struct, frozen=True):
    """A chain, in the order in which `arroyo graph` draws it."""

    chain: str
    state: str
    supervisor: int | None
    stages: tuple[StageView, ...]
    latency_p50_s: float | None
    """From the sources to the publishers, in the interval; None: nothing has come there."""
    latency_p99_s: float | None
    bottleneck: Bottleneck | None
    """What holds the chain up; None: nothing does."""
    in_quarantine: int
    """Messages that are there now."""
    notes: tuple[str, ...]
    """Sentences on replicas that are down or wait, and on the quarantine."""

    @property
    def runs(self) -> bool:
        """Whether any of its processes runs."""
        return self.state != State.STOPPED


class ChainWatch:
    """Makes views of successive snapshots of one chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._snapshots: deque[Snapshot] = deque()
        self._minutes = {name: LastMinute() for name in chain.stages}
        self._order = list(_in_order(chain))

    def add(self, snapshot: Snapshot) -> ChainView:
        """Return the view of a chain from its newest snapshot."""
        while len(self._snapshots) > 1 and self._snapshots[1].time_s <= snapshot.time_s - SPAN_S:
            self._snapshots.popleft()
        before = self._snapshots[0] if self._snapshots else None
        self._snapshots.append(snapshot)
        views = self._replicas(before, snapshot)
        stages = tuple(
            self._stage(name, depth, views[name], snapshot.time_s) for name, depth in self._order
        )
        ends = [stage.figures for stage in stages if stage.role == "publisher"]
        counts = merge(end.latency_counts for end in ends if end.latency_counts)
        return ChainView(
            snapshot.status["chain"],
            snapshot.status["state"],
            snapshot.status["supervisor"],
            stages,
            quantile_s(counts, 0.5),
            quantile_s(counts, 0.99),
            find_bottleneck({stage.name: stage for stage in stages}),
            snapshot.status["quarantine"]["messages"],
            tuple(notes(snapshot.status)),
        )

    def _replicas(self, before: Snapshot | None, after: Snapshot) -> dict[str, list[ReplicaView]]:
        elapsed_s = 0.0 if before is None else after.time_s - before.time_s
        earlier = {} if before is None else _readings(before)
        views: dict[str, list[ReplicaView]] = {name: [] for name in self._chain.stages}
        for name, reading in _readings(after).items():
            figures = figures_of(earlier.get(name), reading, elapsed_s)
            row = reading.row
            waits = row["waiting_s"] is not None
            views[row["stage"]].append(ReplicaView(name, row["state"], row["pid"], waits, figures))
        return views

    def _stage(
        self, name: str, depth: int, replicas: list[ReplicaView], time_s: float
    ) -> StageView:
        stage = self._chain.stages[name]
        figures = together([replica.figures for replica in replicas])
        self._minutes[name].add(time_s, figures.received_per_s)
        return StageView(
            name,
            stage.role,
            tuple((source.stage, source.link) for source in stage.inputs),
            depth,
            min((replica.state for replica in replicas), key=_badness),
            tuple(replicas),
            figures,
            stage.window * stage.replicas if stage.role == "listener" else None,
            self._minutes[name].means,
        )


def _badness(state: str) -> int:
    return _WORST.index(State(state))


def _readings(snapshot: Snapshot) -> dict[str, Reading]:
    rows: list[Mapping[str, Any]] = snapshot.status["stages"]
    named = {f"{row['stage']}.{row['replica']}": row for row in rows}
    return {name: Reading(row, snapshot.latencies.get(name, ())) for name, row in named.items()}


def _in_order(chain: Chain) -> Iterator[tuple[str, int]]:
    """Yield each stage once, below the first stage that feeds it, with its depth there."""
    seen: set[str] = set()

    def grow(name: str, depth: int) -> Iterator[tuple[str, int]]:
        if name not in seen:
            seen.add(name)
            yield name, depth
            for below, _ in chain.downstream(name):
                yield from grow(below.name, depth + 1)

    for stage in chain.stages.values():
        if stage.role == "listener":
            yield from grow(stage.name, 0)
    yield from ((program.name, 0) for program in chain.programs)
