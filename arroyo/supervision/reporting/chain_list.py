"""All chains that a user has started on this host, for `arroyo ps`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psutil

from arroyo.config.run_directory import RunDirectory, list_known_chains
from arroyo.control.accepted_chain import load_accepted
from arroyo.control.locks import owner
from arroyo.control.requests import request
from arroyo.errors import ConfigurationError, UnavailableError, UsageError
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions.events import State

from .replica_rows import read_process, stands_still, state_of_all

ANSWER_S = 2.0
_SUPERVISOR = "supervisor"
_COLUMNS = ("chain", "state", "pid", "since", "ready", "restarts", "file")


def read_chains(environ: Mapping[str, str], answer_s: float = ANSWER_S) -> list[dict[str, Any]]:
    """Return a dict for each chain with a run directory of this user, by name.

    `answer_s`: a supervisor that takes longer is shown without a state: others wait behind it.

    Returns
    -------
    list of dict
        ``chain``; ``state``, None if the supervisor gives no answer; ``pid`` of the supervisor,
        None if there is none; ``since`` when it runs, in ISO 8601; ``stages`` and ``stages_ready``,
        of which all replicas are READY that nobody has stopped; ``restarts`` of all replicas;
        ``file``, the chain file; ``run_directory``.
        Without a supervisor it is as `read_status` has it; of a chain file that can't be read,
        only the stages that run are known.
    """
    return [
        _read(chain, RunDirectory.locate(chain, environ), answer_s, environ)
        for chain in list_known_chains(environ)
    ]


def _read(
    chain: str, run_directory: RunDirectory, answer_s: float, environ: Mapping[str, str]
) -> dict[str, Any]:
    pid = owner(run_directory.lock(_SUPERVISOR))
    if pid is not None:
        state, replicas = (None, []) if stands_still(pid) else _ask(run_directory, answer_s)
    else:
        state, replicas = _look(chain, run_directory, environ)
    found: dict[str, list[str]] = {}
    for replica in replicas:
        states = found.setdefault(replica["replica"].rpartition(".")[0], [])
        if not replica["stopped_by"]:
            states.append(replica["state"])
    pids = [pid] if pid else [replica["pid"] for replica in replicas if replica["pid"]]
    file = run_directory.chain_file(chain)
    return {
        "chain": chain,
        "state": state,
        "pid": pid,
        "since": min(filter(None, map(_started_at, pids)), default=None),
        "stages": len(found),
        "stages_ready": sum(set(states) == {State.READY} for states in found.values()),
        "restarts": sum(replica["restarts"] for replica in replicas),
        "file": None if file is None else str(file),
        "run_directory": str(run_directory.path),
    }


def _ask(run_directory: RunDirectory, answer_s: float) -> tuple[str | None, list[dict[str, Any]]]:
    try:
        reply = request(run_directory.control, "status", timeout_s=answer_s)
    except UnavailableError:
        return None, []
    return reply["state"], reply["replicas"]


def _look(
    chain: str, run_directory: RunDirectory, environ: Mapping[str, str]
) -> tuple[str, list[dict[str, Any]]]:
    """Find the stages that were started by hand, and those of the chain that were not."""
    running = list(_names_of_held(run_directory))
    if not running:
        return State.STOPPED, []
    names = _names_in_file(chain, run_directory, environ) or running
    rows = [read_process(run_directory, name) | {"replica": str(name)} for name in names]
    return state_of_all({row["state"] for row in rows}), rows


def _names_of_held(run_directory: RunDirectory) -> Iterator[ReplicaName]:
    for lock in run_directory.locks:
        with contextlib.suppress(ValueError):  # the supervisor's
            name = ReplicaName.parse(lock.name)
            if owner(lock) is not None:
                yield name


def _names_in_file(
    chain: str, run_directory: RunDirectory, environ: Mapping[str, str]
) -> Sequence[ReplicaName]:
    """Return the replicas that the chain has by its file; none if that is wrong or gone."""
    file = run_directory.chain_file(chain)
    with contextlib.suppress(ConfigurationError, UsageError):
        found = load_accepted(file, environ) if file is not None else None
        if found is not None and found.name == chain:
            return found.replicas
    return ()


def _started_at(pid: int) -> str | None:
    try:
        started = psutil.Process(pid).create_time()
    except psutil.Error:
        return None
    return datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds")


def chains_table(chains: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the result of `read_chains` as a table for people. PURE."""
    if not chains:
        return "no chain has run here as this user"
    rows = [list(_COLUMNS), *([_cell(chain, key) for key in _COLUMNS] for chain in chains)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cell(chain: Mapping[str, Any], key: str) -> str:
    if key == "ready":
        return f"{chain['stages_ready']}/{chain['stages']}" if chain["stages"] else "-"
    value = chain[key]
    if value is None:
        return "no answer" if key == "state" else "-"
    if key == "since":
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return str(value)
