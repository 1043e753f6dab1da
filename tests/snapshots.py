"""Snapshots of chains, as `StatusReader` reads them."""

from arroyo.runner.quarantine.store import BYTES_MAX, ENTRIES_MAX
from arroyo.supervision.reporting.snapshot import Snapshot
from arroyo.telemetry.histogram import BUCKETS

_COUNTS = (
    *("restarts", "received", "sent", "errors", "dropped", "bytes_in", "bytes_out", "in_flight"),
    *("repeated", "filtered", "skipped", "quarantined", "rejected", "lost", "inline"),
)
_UNKNOWN = ("stopped_by", "pid", "incarnation", "uptime_s", "waiting_s", "cpu_s", "rss_bytes")
_TIMES = ("busy_s", "idle_s", "blocked_s")


def make_snapshot(
    chain, latencies=None, state="STOPPED", supervisor=None, in_quarantine=0, time_s=1.0, **rows
):
    """A snapshot in which nothing runs, but for what `rows` says of replicas (``stage.0``)."""
    stages, seen = [], {}
    for name in chain.replicas:
        row = {"stage": name.stage, "replica": name.replica, "role": chain.stages[name.stage].role}
        row |= {"state": "STOPPED", **dict.fromkeys(_UNKNOWN), **dict.fromkeys(_COUNTS, 0)}
        row |= dict.fromkeys(_TIMES)
        if (given := rows.get(str(name))) is not None:
            row |= {**dict.fromkeys(_TIMES, 0.0), **given}
        stages.append(row)
        seen[str(name)] = [0] * BUCKETS if row["incarnation"] else ()
    quarantine = {"messages": in_quarantine, "messages_max": ENTRIES_MAX, "requeued": 0}
    quarantine |= {"bytes": 0, "bytes_max": BYTES_MAX}
    status = {"chain": chain.name, "state": state, "supervisor": supervisor}
    status |= {"quarantine": quarantine, "parameters": {}, "stages": stages}
    return Snapshot(time_s, status, seen | (latencies or {}))
