"""What has become of restarts that somebody has ordered, as the supervisor tells. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from arroyo.supervision.decisions.events import State


class Restarts(NamedTuple):
    """Replicas of an order, by what has become of them."""

    waiting: list[str]
    """Still to come, or under way."""
    done: list[str]
    failed: dict[str, str]
    """Why each of them is FAILED, in words that follow its name."""
    left: list[str]
    """They run as before, since one before them has failed."""
    ended: list[str]
    """They came to the end of their work, or somebody has had them stopped."""


def judge_restarts(former: Mapping[str, int | None], reply: Mapping[str, Any]) -> Restarts:
    """Return what has become of an order.

    `former`: the pid of each replica before it (None: it had no process).
    `reply`: the supervisor's answer to "status".
    """
    rows = {row["replica"]: row for row in reply["replicas"]}
    found = Restarts([], [], {}, [], [])
    for name, pid in former.items():
        row = rows[name]
        if name in reply["restarting"] or _is_under_way(row):
            found.waiting.append(name)
        elif row["state"] == State.FAILED:
            found.failed[name] = row["reason"] or "has failed"
        elif row["state"] == State.STOPPED:
            found.ended.append(name)
        else:
            (found.left if row["pid"] == pid else found.done).append(name)
    return found


def say_delays(names: Sequence[str], reply: Mapping[str, Any]) -> list[str]:
    """Say why some of these have to be started once more."""
    return [
        f"{row['replica']} {row['reason']}; it is started once more"
        for row in reply["replicas"]
        if row["replica"] in names and row["state"] == State.BACKOFF and row["reason"]
    ]


def _is_under_way(row: Mapping[str, Any]) -> bool:
    """Return True if a replica is about to start or to end; FAILED ones may be due just now."""
    settled = {State.READY, State.DEGRADED, State.FAILED, State.STOPPED}
    return row["state"] not in settled or row["next_try_s"] == 0
