"""Status of a chain, from its supervisor, locks, status pages and /proc.

The command that asks puts it together, so the supervisor stays small, and stages without a
supervisor are seen as well, by the locks that they hold.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory, find_hidden
from arroyo.control.accepted_chain import FileChanges
from arroyo.control.locks import owner
from arroyo.control.shared_folders import find_folders
from arroyo.errors import UsageError
from arroyo.identifiers import ReplicaName
from arroyo.runner.quarantine.store import BYTES_MAX, ENTRIES_MAX, Quarantine
from arroyo.supervision.decisions.events import State
from arroyo.telemetry.histogram import merge, quantile_s
from arroyo.telemetry.status_page import read_whole_page
from arroyo.telemetry.status_words import HISTOGRAMS, INPUTS, Phase, phase_times_ns

from .replica_rows import read_rows, require_not_elsewhere
from .snapshot import Snapshot

CPU_SAMPLE_S = 0.1
_COUNTERS = (
    *("received", "sent", "errors", "dropped", "bytes_in", "bytes_out", "in_flight"),
    *("repeated", "filtered", "skipped", "quarantined", "rejected", "lost", "inline"),
)
_TIMES = {
    "busy_s": (Phase.PROCESS, Phase.FLUSH, Phase.PARAMETERS),
    "idle_s": (Phase.IDLE,),
    "blocked_s": (Phase.BLOCKED,),
}


def read_status(chain: Chain, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the status of a chain, running or not.

    Returns
    -------
    dict
        ``chain``, ``state``, ``supervisor`` (its pid, or None), ``supervisor_answers`` (None: there
        is none), ``supervisor_stopped`` (whether a signal or a debugger keeps it from that),
        ``file_changed`` (a sentence, if the chain file is not what runs, else None),
        ``quarantine`` (how full it is; ``requeued`` messages are on their way back),
        ``parameters`` (by stage and name: ``value``, that in the chain ``file``, and set ``by``
        whom),
        ``latency_p50_s`` and ``latency_p99_s`` (from the sources to the publishers, all of them)
        and ``stages``: one dict for each replica, from the sources down.
        ``program_pid`` is the process of a foreign program, of which ``cpu_…`` and ``rss_bytes``
        are then (None: it is none). ``stopped_by`` is who had a replica stopped. ``reason`` is why
        a replica is down or can't work, or what it has waited for for ``waiting_s`` (None: it does
        not say),
        ``next_try_s`` in how long it is started again, ``inputs`` how many
        messages came from each stage; ``lost`` includes ``lost_before``, what the process before
        had in hand at its end, some of which may have arrived.
        ``latency_…`` is from the listener's `process()` to the end of this stage's work, ``hop_…``
        from the neighbour's sending to its beginning, both since the replica has started.
        ``in_hand_s`` is how long the present `process()`, `flush()` or `set_parameters()` has
        taken; None: there is none. ``busy_s``, ``idle_s`` and ``blocked_s`` are how long it has
        worked, has had nothing to do, and could not go on because a stage below had no room;
        ``cpu_s`` is the processor time that it has used. Times in s, sizes in bytes; None where a
        figure is not known.

    Raises
    ------
    UsageError
        It can't be seen from here: it belongs to another user, or has another run directory.
    """
    reader = StatusReader(chain, environ)
    status = reader.read().status
    reader.add_cpu(status["stages"])
    return status


class StatusReader:
    """Reads the status of a chain, again and again.

    Raises
    ------
    UsageError
        As in `read_status`.
    """

    def __init__(self, chain: Chain, environ: Mapping[str, str]) -> None:
        if hidden := find_hidden(chain.name, environ):
            raise UsageError(hidden)
        self._chain = chain
        self._environ = environ
        self._run_directory = RunDirectory.locate(chain.name, environ)
        self._changes = FileChanges(chain, environ)
        self._processes: dict[int, psutil.Process] = {}
        self._is_first = True

    def read(self) -> Snapshot:
        """Read it as it is now, without waiting.

        Only the first time a chain that does not run is looked for elsewhere, as that takes long.

        Raises
        ------
        UsageError
            As in `read_status`.
        """
        chain, run_directory = self._chain, self._run_directory
        supervisor = owner(run_directory.lock("supervisor"))
        found = read_rows(chain, run_directory, supervisor)
        state, rows = found.state, found.rows
        is_first, self._is_first = self._is_first, False
        if is_first and state == State.STOPPED:
            require_not_elsewhere(chain, run_directory)
        latencies: dict[str, Sequence[int]] = {}
        for name, row in zip(chain.replicas, rows, strict=True):
            latencies[str(name)] = self._add_page(name, row)
        self._add_usage(rows)
        status: dict[str, Any] = {"chain": chain.name, "state": state, "supervisor": supervisor}
        status["supervisor_answers"] = found.answered if supervisor is not None else None
        status["supervisor_stopped"] = found.is_stopped
        status["file_changed"] = None
        if supervisor is not None and chain.text:
            status["file_changed"] = self._changes.say()
        status["quarantine"] = _quarantine(chain, self._environ)
        status["parameters"] = found.parameters
        ends = [latencies[str(name)] for name in _publishers(chain)]
        status |= _quantiles("latency", merge(filter(None, ends)))
        return Snapshot(time.monotonic(), status | {"stages": rows}, latencies)

    def _add_page(self, name: ReplicaName, row: dict[str, Any]) -> Sequence[int]:
        """Add what a replica's status page says; return the histogram of its latency."""
        now_ns = time.monotonic_ns()
        whole = read_whole_page(self._run_directory.status_page(name)) if row["pid"] else None
        if whole is not None and whole.words["pid"] != row["pid"]:
            whole = None  # only a predecessor's is there
        page = {} if whole is None else whole.words
        row["incarnation"] = page.get("incarnation")
        row["program_pid"] = page.get("program") or None
        row |= {word: page.get(word, 0) for word in _COUNTERS}
        row["lost_before"] = page.get("lost_before", 0)
        row["lost"] += row["lost_before"]
        inputs = enumerate(self._chain.stages[name.stage].inputs[:INPUTS])
        row["inputs"] = {above.stage: page.get(f"input_{place}", 0) for place, above in inputs}
        row["in_hand_s"] = _in_hand_s(page, now_ns)
        row.update(_times_s(page, now_ns))
        waiting = None if whole is None else whole.waiting(now_ns)
        row["waiting_s"] = None
        if waiting is not None:
            row["reason"] = waiting.why
            row["waiting_s"] = round((now_ns - waiting.since_ns) / 1e9, 3)
        latency, hop = (() if whole is None else whole.histogram(each) for each in HISTOGRAMS)
        row.update(_quantiles("latency", latency))
        row.update(_quantiles("hop", hop))
        return latency

    def _add_usage(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add processor time and memory of each process."""
        before, self._processes = self._processes, {}
        for row in rows:
            row |= {"cpu_s": None, "rss_bytes": None}
            pid = _worker(row)
            with contextlib.suppress(psutil.Error):
                if pid:
                    process = self._processes[pid] = before.get(pid) or psutil.Process(pid)
                    with process.oneshot():
                        row["cpu_s"] = _cpu_s(process)
                        row["rss_bytes"] = process.memory_info().rss

    def add_cpu(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add the load of each process to what was just read: percent of one core, over 0.1 s."""
        if self._processes:
            time.sleep(CPU_SAMPLE_S)
        for row in rows:
            row["cpu_percent"] = None
            with contextlib.suppress(psutil.Error):
                if row["cpu_s"] is not None:
                    used_s = _cpu_s(self._processes[_worker(row)]) - row["cpu_s"]
                    row["cpu_percent"] = round(100 * used_s / CPU_SAMPLE_S, 1)


def _worker(row: Mapping[str, Any]) -> int:
    """Return the process that does the work: of a program, the program itself. 0: there is none."""
    return row["program_pid"] or row["pid"] or 0


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _publishers(chain: Chain) -> list[ReplicaName]:
    return [name for name in chain.replicas if chain.stages[name.stage].role == "publisher"]


def _times_s(page: Mapping[str, int], now_ns: int) -> dict[str, float | None]:
    """Return how long a replica has been busy, idle and blocked."""
    if not page:
        return dict.fromkeys(_TIMES)
    times = phase_times_ns(page, now_ns)
    return {
        key: round(sum(times[phase] for phase in phases) / 1e9, 6) for key, phases in _TIMES.items()
    }


def _quarantine(chain: Chain, environ: Mapping[str, str]) -> dict[str, Any]:
    store = Quarantine(find_folders(chain.name, environ).state.quarantine)
    fill = store.fill()
    return {
        "messages": fill.messages,
        "requeued": store.count_requeued(),
        "messages_max": ENTRIES_MAX,
        "bytes": fill.bytes,
        "bytes_max": BYTES_MAX,
    }


def _in_hand_s(page: Mapping[str, int], now_ns: int) -> float | None:
    """Return how long the present call of the stage's code has taken; None: there is none."""
    if page.get("phase") in {Phase.FLUSH, Phase.PARAMETERS}:
        since_ns = page["phase_since_ns"]
    elif page.get("phase") == Phase.PROCESS and page["hand_source"]:
        since_ns = page["hand_since_ns"]
    else:
        return None
    return round(max(0, now_ns - since_ns) / 1e9, 3)


def _quantiles(name: str, counts: Sequence[int]) -> dict[str, float | None]:
    return {f"{name}_p50_s": quantile_s(counts, 0.5), f"{name}_p99_s": quantile_s(counts, 0.99)}
