"""Last transitions of a chain's processes, for `arroyo status --history`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory, find_hidden
from arroyo.config.suggestions import did_you_mean
from arroyo.control.history_file import history_file
from arroyo.control.locks import owner
from arroyo.control.requests import not_running, request
from arroyo.control.stacks import request_stacks
from arroyo.errors import UnavailableError, UsageError
from arroyo.identifiers import ReplicaName
from arroyo.supervision.watching.replica_files import read_counters

SUPERVISOR = "supervisor"


def read_history(chain: Chain, environ: Mapping[str, str], wanted: str) -> str:
    """Return the stacks and the last transitions of processes, which work on meanwhile.

    Of a replica that does not run, return what its last process left when it failed.

    `wanted`: a stage, one replica of it (``STAGE.R``), or ``supervisor``.

    UsageError: the chain has no such stage, or can't be seen from here.
    UnavailableError: a process does not answer.
    """
    run_directory = RunDirectory.locate(chain.name, environ)
    if hidden := find_hidden(chain.name, environ):
        raise UsageError(hidden)
    if wanted == SUPERVISOR:
        if owner(run_directory.lock(SUPERVISOR)) is None:
            if not any(owner(lock) is not None for lock in run_directory.locks):
                raise not_running(chain.name, chain.path)
            raise UnavailableError(f"chain {chain.name} has no supervisor; its stages run by hand")
        text: str = request(run_directory.control, "history")["text"]
        return text
    return "\n".join(_of(run_directory, name) for name in _find(chain, wanted))


def _find(chain: Chain, wanted: str) -> list[ReplicaName]:
    found = [name for name in chain.replicas if wanted in (name.stage, str(name))]
    if not found:
        known = [*chain.stages, *map(str, chain.replicas), SUPERVISOR]
        meant = did_you_mean(wanted, known)
        raise UsageError(f"chain {chain.name} has no stage or replica {wanted!r}{meant}")
    return found


def _of(run_directory: RunDirectory, name: ReplicaName) -> str:
    log, lock = run_directory.log(name), run_directory.lock(name)
    pid = owner(lock)
    left = history_file(log)
    if pid is None:
        return f"{name} is not running{_read(left)}\n"
    if pid == 0:
        return f"{name} runs in another container; ask there\n"
    if not read_counters(run_directory, name, pid):
        return f"{name} is starting; ask again{_mention(left)}\n"  # a signal would end it
    return f"{name}{_mention(left)}\n{request_stacks(log, lock)}"


def _mention(left: Path) -> str:
    return f"; a process of it that failed left {left}" if left.exists() else ""


def _read(left: Path) -> str:
    try:
        text = left.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return ", and left no history"
    return f"; a process of it that failed left this in {left}:\n{text}"
