"""`ChainCollector`: the snapshots of a chain as metric families of Prometheus. PURE.

The names, and what they mean, are in `descriptions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client import Metric

from arroyo.config.graph import Chain
from arroyo.runner.quarantine.store import Fill
from arroyo.supervision.decisions.events import State
from arroyo.supervision.reporting.snapshot import Snapshot
from arroyo.telemetry.histogram import FIRST_NS, cumulative, sum_s

from .continuity import Continuity
from .descriptions import METRICS

BUCKET_OCTAVES = range(4, 27, 2)
"""Upper bounds of the buckets, 16 us to 69 s: there the counts are exact."""
_BOUNDS = [str((FIRST_NS << octave) / 1e9) for octave in BUCKET_OCTAVES]
_LATENCY = "arroyo_stage_latency_seconds"
_COUNTERS = {
    "arroyo_stage_received_events": "received",
    "arroyo_stage_sent_events": "sent",
    "arroyo_stage_received_bytes": "bytes_in",
    "arroyo_stage_sent_bytes": "bytes_out",
    "arroyo_stage_repeated_events": "repeated",
    "arroyo_stage_errors": "errors",
    "arroyo_stage_lost_events": "lost",
    "arroyo_stage_inline_payloads": "inline",
}
"""Counters, by their names in `arroyo status`."""
_REASONS = ("filtered", "skipped", "quarantined", "dropped", "rejected")
_PHASES = ("busy", "idle", "blocked")
_GAUGES = {
    "arroyo_stage_uptime_seconds": "uptime_s",
    "arroyo_stage_resident_memory_bytes": "rss_bytes",
}
_PARTS = ("supervisor", "page", "process")
"""What counts for a replica, each with lives of its own."""

Row = Mapping[str, Any]
"""A replica, as in `read_status`."""


class _Sample(NamedTuple):
    """What tells the samples of one replica from each other."""

    metric: str
    suffix: str = "_total"
    labels: tuple[tuple[str, str], ...] = ()
    """Beyond those of the replica."""


class ChainCollector:
    """Maps snapshots of one chain to metrics; what counts goes on over restarts of stages.

    `version`: that of Arroyo.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._counted = Continuity[_Sample]()

    def collect(self, chain: Chain, snapshot: Snapshot) -> list[Metric]:
        """Return the metric families of the chain as it is in a snapshot."""
        families = _Families()
        families.add("arroyo_build", "_info", {"version": self._version}, 1)
        _add_chain(families, snapshot.status)
        _add_graph(families, chain)
        for row in snapshot.status["stages"]:
            name = f"{row['stage']}.{row['replica']}"
            labels = {"chain": chain.name, "stage": row["stage"], "replica": str(row["replica"])}
            _add_gauges(families, labels, row)
            if row["role"] == "listener":
                window = chain.stages[row["stage"]].window
                families.add("arroyo_stage_window_events", "", labels, window)
            self._note(name, row, snapshot)
            for part in _PARTS:
                for sample, value in self._counted.sums((name, part)).items():
                    more = dict(sample.labels)
                    families.add(sample.metric, sample.suffix, {**labels, **more}, value)
        parts = {(str(name), part) for name in chain.replicas for part in _PARTS}
        self._counted.keep_only(parts)
        return families.all()

    def _note(self, name: str, row: Row, snapshot: Snapshot) -> None:
        """Note what a replica has counted."""
        restarts = {_Sample("arroyo_stage_restarts"): row["restarts"]}
        self._counted.note((name, "supervisor"), snapshot.status["supervisor"] or 0, restarts)
        latencies = snapshot.latencies.get(name)
        if latencies and row["role"] != "program":
            counts = dict(_page_counts(row, latencies))
            self._counted.note((name, "page"), row["incarnation"], counts)
        if row["cpu_s"] is not None:
            cpu = {_Sample("arroyo_stage_cpu_seconds"): row["cpu_s"]}
            self._counted.note((name, "process"), row["pid"], cpu)


class _Families:
    """The metrics that are described, with the samples that were added."""

    def __init__(self) -> None:
        self._metrics = {
            each.name: Metric(each.name, each.help, each.kind, each.unit) for each in METRICS
        }

    def add(self, metric: str, suffix: str, labels: Mapping[str, str], value: float) -> None:
        self._metrics[metric].add_sample(metric + suffix, dict(labels), value)

    def add_state(self, metric: str, labels: Mapping[str, str], state: str) -> None:
        """Add a sample for each state that there is."""
        for each in State:
            self.add(metric, "", {**labels, "state": each}, int(each == state))

    def all(self) -> list[Metric]:
        return list(self._metrics.values())


def _add_chain(families: _Families, status: Mapping[str, Any]) -> None:
    labels = {"chain": status["chain"]}
    fill = Fill(status["quarantine"]["messages"], status["quarantine"]["bytes"])
    families.add("arroyo_up", "", labels, int(status["state"] != State.STOPPED))
    families.add_state("arroyo_chain_state", labels, status["state"])
    families.add("arroyo_quarantine_messages", "", labels, fill.messages)
    families.add("arroyo_quarantine_used_ratio", "", labels, fill.share)


def _add_graph(families: _Families, chain: Chain) -> None:
    for stage in chain.stages.values():
        labels = {"chain": chain.name, "stage": stage.name}
        families.add("arroyo_stage", "_info", {**labels, "role": stage.role}, 1)
        for above in stage.inputs:
            link = {"above": above.stage, **labels, "link": above.link}
            families.add("arroyo_link", "_info", link, 1)


def _add_gauges(families: _Families, labels: Mapping[str, str], row: Row) -> None:
    families.add_state("arroyo_stage_state", labels, row["state"])
    families.add("arroyo_stage_ready", "", labels, int(row["state"] == State.READY))
    families.add("arroyo_stage_wanted", "", labels, int(not row["stopped_by"]))
    for metric, key in _GAUGES.items():
        if row[key] is not None:
            families.add(metric, "", labels, row[key])
    if row["incarnation"] is not None:
        families.add("arroyo_stage_in_flight_events", "", labels, row["in_flight"])
        families.add("arroyo_stage_waiting_seconds", "", labels, row["waiting_s"] or 0)


def _page_counts(row: Row, latencies: Sequence[int]) -> Iterator[tuple[_Sample, float]]:
    """Yield what a replica counts on its status page."""
    for metric, key in _COUNTERS.items():
        yield _Sample(metric), row[key]
    for reason in _REASONS:
        labels = (("reason", reason),)
        yield _Sample("arroyo_stage_discarded_events", labels=labels), row[reason]
    for phase in _PHASES:
        labels = (("phase", phase),)
        yield _Sample("arroyo_stage_phase_seconds", labels=labels), row[f"{phase}_s"]
    for bound, count in zip(_BOUNDS, cumulative(latencies, BUCKET_OCTAVES), strict=True):
        yield _Sample(_LATENCY, "_bucket", (("le", bound),)), count
    total = sum(latencies)
    yield _Sample(_LATENCY, "_bucket", (("le", "+Inf"),)), total
    yield _Sample(_LATENCY, "_count"), total
    yield _Sample(_LATENCY, "_sum"), sum_s(latencies)
