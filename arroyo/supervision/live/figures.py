"""`Figures`: what a replica, or a stage, did between two snapshots, and how it stands. PURE.

Counters of a replica start again with its process. Where another process has taken its place, all
that this one has counted happened since. Counters that go back for a moment have not changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from arroyo.telemetry.histogram import merge, quantile_s


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of an interval, and totals at its end. None: not known, as where nothing runs."""

    received_per_s: float | None = None
    sent_per_s: float | None = None
    mebibytes_per_s: float | None = None
    """What came in, in MiB/s."""
    inputs_per_s: dict[str, float] = {}
    """Messages that came from each stage of its inputs."""
    busy: float | None = None
    """Share of the time in which its code worked, of 1; a listener's is not known."""
    idle: float | None = None
    """… in which it had nothing to do."""
    blocked: float | None = None
    """… in which it could not go on, because a stage below had no room."""
    latency_counts: Sequence[int] = ()
    """Histogram of the latencies in the interval."""
    cpu: float | None = None
    """Load, in cores."""
    rss_bytes: int | None = None
    received: int = 0
    sent: int = 0
    in_flight: int = 0
    errors: int = 0
    rejected: int = 0
    dropped: int = 0
    quarantined: int = 0
    lost: int = 0
    restarts: int = 0

    def latency_s(self, share: float) -> float | None:
        """Return the latency in s that `share` of the messages did not exceed."""
        return quantile_s(self.latency_counts, share)


_RATES = {
    "received_per_s": ("received", 1),
    "sent_per_s": ("sent", 1),
    "mebibytes_per_s": ("bytes_in", 2**20),
}
"""Figures that are rates: the counter of each, and its unit."""
_SHARES = {"busy": "busy_s", "idle": "idle_s", "blocked": "blocked_s"}
_TOTALS = (
    *("received", "sent", "in_flight"),
    *("errors", "rejected", "dropped", "quarantined", "lost", "restarts"),
)


class Reading(msgspec.Struct, frozen=True):
    """A replica in one snapshot: its row of the status, and the histogram of its latency."""

    row: Mapping[str, Any]
    latency_counts: Sequence[int] = ()

    def is_of(self, other: Reading) -> bool:
        """Return True if both are of one process."""
        return all(self.row[key] == other.row[key] for key in ("pid", "incarnation"))


def figures_of(before: Reading | None, after: Reading, elapsed_s: float) -> Figures:
    """Return the figures of a replica between two readings.

    `before`: None if there is none yet; then only what stands now is known.
    """
    row = after.row
    known: dict[str, Any] = {key: row[key] for key in _TOTALS}
    known["rss_bytes"] = row["rss_bytes"]
    if before is None or elapsed_s <= 0 or row["incarnation"] is None:
        return Figures(**known)
    start = before if after.is_of(before) else None
    if row["cpu_s"] is not None:
        known["cpu"] = _grown(start, after, "cpu_s") / elapsed_s
    if row["role"] == "program":
        return Figures(**known)
    for key, (counter, unit) in _RATES.items():
        known[key] = _grown(start, after, counter) / unit / elapsed_s
    earlier = {} if start is None else start.row["inputs"]
    known["inputs_per_s"] = {
        stage: max(0, count - earlier.get(stage, 0)) / elapsed_s
        for stage, count in row["inputs"].items()
    }
    known |= _shares(start, after, elapsed_s)
    known["latency_counts"] = _difference(start, after)
    return Figures(**known)


def _grown(start: Reading | None, after: Reading, counter: str) -> float:
    earlier = 0 if start is None else start.row[counter] or 0
    return max(0.0, (after.row[counter] or 0) - earlier)


def _shares(start: Reading | None, after: Reading, elapsed_s: float) -> dict[str, float | None]:
    """Return the shares of the interval; together they are 1 at most.

    A listener works in a thread of its own, of which only is known when it has to wait.
    """
    spent_s = {key: _grown(start, after, counter) for key, counter in _SHARES.items()}
    # The words of a page may be of slightly different moments, and add up to more.
    whole_s = max(elapsed_s, sum(spent_s.values()))
    is_listener = after.row["role"] == "listener"
    return {
        key: None if is_listener and key != "blocked" else each_s / whole_s
        for key, each_s in spent_s.items()
    }


def _difference(start: Reading | None, after: Reading) -> Sequence[int]:
    if start is None or not start.latency_counts or not after.latency_counts:
        return after.latency_counts
    if start.latency_counts == after.latency_counts:
        return ()
    pairs = zip(after.latency_counts, start.latency_counts, strict=True)
    return [now - then if now > then else 0 for now, then in pairs]


def together(parts: Sequence[Figures]) -> Figures:
    """Return the figures of a stage from those of its replicas.

    Counts and rates are sums; shares are means over the replicas that have any.
    """
    known: dict[str, Any] = {key: sum(getattr(part, key) for part in parts) for key in _TOTALS}
    for key in (*_RATES, "cpu", "rss_bytes", *_SHARES):
        values = [value for part in parts if (value := getattr(part, key)) is not None]
        if values:
            known[key] = sum(values) / (len(values) if key in _SHARES else 1)
    inputs: dict[str, float] = {}
    for part in parts:
        for stage, rate in part.inputs_per_s.items():
            inputs[stage] = inputs.get(stage, 0.0) + rate
    histograms = [part.latency_counts for part in parts if part.latency_counts]
    counts = histograms[0] if len(histograms) == 1 else merge(histograms)
    return Figures(**known, inputs_per_s=inputs, latency_counts=counts)
