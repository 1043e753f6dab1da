"""Snapshots of a chain as a test scripts them, and the views that follow."""

from __future__ import annotations

from arroyo.supervision.live.chain_view import ChainWatch
from arroyo.supervision.reporting.snapshot import Snapshot
from arroyo.telemetry.histogram import BUCKETS, note

ROW = {
    **{"pid": 4711, "state": "READY", "incarnation": 1, "restarts": 0, "uptime_s": 5.0},
    **{"received": 0, "sent": 0, "errors": 0, "dropped": 0, "bytes_in": 0, "bytes_out": 0},
    **{"in_flight": 0, "repeated": 0, "filtered": 0, "skipped": 0, "quarantined": 0},
    **{"rejected": 0, "lost": 0, "lost_before": 0, "inline": 0, "in_hand_s": None},
    **{"stopped_by": None, "reason": None, "next_try_s": None, "waiting_s": None},
    **{"busy_s": 0.0, "idle_s": 0.0, "blocked_s": 0.0, "cpu_s": 0.0, "rss_bytes": 2**20},
}
"""A replica that runs and has done nothing yet."""
DOWN = {
    **{"pid": None, "state": "STOPPED", "incarnation": None, "uptime_s": None},
    **{"busy_s": None, "idle_s": None, "blocked_s": None, "cpu_s": None, "rss_bytes": None},
}


def histogram(*latencies_s):
    """Counts of messages that took so long each."""
    counts = [0] * BUCKETS
    for latency_s in latencies_s:
        note(counts, int(latency_s * 1e9), 1)
    return tuple(counts)


def snapshot(chain, time_s, *, state="READY", quarantined=0, latencies=None, **rows):
    """A snapshot; `rows`: what is other than in `ROW`, of stages (``work``) or of one (``work_0``).

    `latencies`: histograms by replica, ``STAGE.R``.
    """
    stages = []
    for name in chain.replicas:
        stage = chain.stages[name.stage]
        row = {"stage": name.stage, "replica": name.replica, "role": stage.role, **ROW}
        row["inputs"] = dict.fromkeys((above.stage for above in stage.inputs), 0)
        row |= DOWN if state == "STOPPED" else {}
        row |= rows.get(name.stage, {}) | rows.get(f"{name.stage}_{name.replica}", {})
        stages.append(row)
    status = {
        "chain": chain.name,
        "state": state,
        "supervisor": None,
        "stages": stages,
        "parameters": {},
        "file_changed": None,
        "supervisor_stopped": False,
        "supervisor_answers": None if state == "STOPPED" else True,
    }
    status["supervisor"] = None if state == "STOPPED" else 17
    status["quarantine"] = {"messages": quarantined, "bytes": quarantined, "requeued": 0}
    status |= {"latency_p50_s": None, "latency_p99_s": None}
    return Snapshot(time_s, status, latencies or {})


def view_after(chain, seconds=1.0, /, **rows):
    """The view of a chain that began to run and did what `rows` tell, within `seconds`."""
    watch = ChainWatch(chain)
    watch.add(snapshot(chain, 100.0))
    return watch.add(snapshot(chain, 100.0 + seconds, **rows))
