"""Rows of the status: which replicas run, as the supervisor says, or else the locks they hold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from arroyo.config.graph import Chain
from arroyo.config.private_folder import name_of
from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import owner
from arroyo.control.requests import request
from arroyo.errors import UnavailableError, UsageError
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.decisions.health_response import UNWELL
from arroyo.supervision.watching import child
from arroyo.supervision.watching.replica_files import read_counters
from arroyo.telemetry.status_words import Phase

_STAGE_WORDS = ("chain", "name", "run", "state", "lifeline")
"""Last arguments of the command of a supervised stage."""
_STOPPED = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}


class ReadRows(NamedTuple):
    """What is known of the replicas of a chain."""

    state: str
    rows: list[dict[str, Any]]
    parameters: dict[str, Any]
    answered: bool = True
    """Whether the supervisor said it."""
    is_stopped: bool = False
    """Whether it could not, as a signal or a debugger has stopped it."""


def read_rows(chain: Chain, run_directory: RunDirectory, supervisor: int | None) -> ReadRows:
    """Ask the supervisor; without an answer, look at the locks.

    It has just ended, or starts, or stands still. One that a signal has stopped is not asked.
    """
    is_stopped = supervisor is not None and stands_still(supervisor)
    if supervisor is not None and not is_stopped:
        try:
            reply = request(run_directory.control, "status")
        except UnavailableError:
            pass
        else:
            known = {entry.pop("replica"): entry for entry in reply["replicas"]}
            if known.keys() == set(map(str, chain.replicas)):
                rows = [_row(chain, name) | known[str(name)] for name in chain.replicas]
                return ReadRows(reply["state"], rows, reply["parameters"])
    rows = [_row(chain, name) | read_process(run_directory, name) for name in chain.replicas]
    state = state_of_all({row["state"] for row in rows})
    return ReadRows(state, rows, _declared_parameters(chain), answered=False, is_stopped=is_stopped)


def stands_still(pid: int) -> bool:
    """Return True if a signal or a debugger has stopped a process."""
    try:
        return psutil.Process(pid).status() in _STOPPED
    except psutil.Error:
        return False


def _declared_parameters(chain: Chain) -> dict[str, Any]:
    """Return the parameters of stages whose supervisor, if there is one, says nothing of them."""
    return {
        name: {
            key: {"value": value, "file": value, "by": None}
            for key, value in stage.parameters.items()
        }
        for name, stage in chain.stages.items()
        if stage.parameters
    }


def require_not_elsewhere(chain: Chain, run_directory: RunDirectory) -> None:
    """Raise UsageError where somebody runs the chain elsewhere, as its processes say."""
    for process in psutil.process_iter(["cmdline", "uids"]):
        words = process.info["cmdline"] or []
        if len(words) < len(_STAGE_WORDS) or not any(child.__name__ in word for word in words):
            continue
        told = dict(zip(_STAGE_WORDS, words[-len(_STAGE_WORDS) :], strict=True))
        if Path(told["chain"]) != chain.path or Path(told["run"]) == run_directory.path:
            continue
        user = name_of(process.info["uids"].effective)
        raise UsageError(
            f"can't see chain {chain.name}: {user} runs it, with the run directory {told['run']}; "
            f"ask as that user, with ARROYO_RUN_DIR={Path(told['run']).parent}"
        )


def _row(chain: Chain, name: ReplicaName) -> dict[str, Any]:
    return {"stage": name.stage, "replica": name.replica, "role": chain.stages[name.stage].role}


def read_process(run_directory: RunDirectory, name: ReplicaName) -> dict[str, Any]:
    """Return what is known of a replica that no supervisor knows, by the lock that it holds."""
    pid = owner(run_directory.lock(name))
    page = read_counters(run_directory, name, pid) if pid else {}
    state, uptime_s = State.STOPPED, None
    if pid is not None:
        state = State.STARTING
        if page.get("ready_since_ns"):
            draining = page["phase"] in {Phase.DRAIN, Phase.CLOSED, Phase.ENDED}
            state = State.DRAINING if draining else State.READY
            uptime_s = round(time.monotonic() - page["ready_since_ns"] / 1e9, 3)
    found = dict.fromkeys(("stopped_by", "reason", "next_try_s"))
    found |= {"state": state, "pid": pid, "restarts": 0, "uptime_s": uptime_s}
    if pid is not None and stands_still(pid):
        found["reason"] = UNWELL[Condition.STOPPED]
        found["state"] = State.DEGRADED if state is State.READY else state
    return found


def state_of_all(states: set[State]) -> State:
    """Return the state of a chain without a supervisor, by those of its replicas. PURE."""
    if len(states) == 1:
        return next(iter(states))
    # Some run, and others don't, or not yet.
    return State.STARTING if State.STARTING in states else State.DEGRADED
