"""The supervisor's answer to `arroyo status`: what only it knows of its replicas. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arroyo.supervision.decisions.ending import describe_end
from arroyo.supervision.decisions.replica import ReplicaState
from arroyo.supervision.decisions.replicas import Replicas

REASON_CHARACTERS = 500
"""Longest reason why a replica is down: an answer has its limits."""


def status_reply(
    replicas: Replicas, now: float, parameters: Mapping[str, Any], restarting: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the states of the chain and of each replica, as JSON can hold them.

    `restarting`: replicas whose restart by an order is still to come, or under way.
    """
    rows = [_row(replica, now) for replica in replicas]
    reply = {"state": replicas.state, "replicas": rows, "parameters": parameters}
    # A chain whose sources have finished is DRAINING too, without a stop.
    return reply | {"stopping": replicas.stopping, "restarting": list(restarting)}


def _row(replica: ReplicaState, now: float) -> dict[str, Any]:
    ending, due_at = replica.ending, replica.due_at
    why = describe_end(ending, f"{ending.after_s:.3g} s") if ending is not None else replica.unwell
    return {
        "replica": str(replica.name),
        "state": replica.seen_state,
        "pid": replica.pid,
        "restarts": replica.restarts,
        "uptime_s": round(now - replica.spawned_at, 3) if replica.alive else None,
        "stopped_by": replica.held_by or None,
        "reason": why[:REASON_CHARACTERS] or None,
        "next_try_s": None if ending is None or due_at is None else round(max(0, due_at - now), 3),
    }
