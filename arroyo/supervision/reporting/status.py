"""What a chain is doing, put together from its supervisor, locks, status pages and /proc.

Made by whoever asks, not by the supervisor, which so stays small; and stages without a supervisor
are seen as well, by the locks that they hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from arroyo.config.graph import Chain
from arroyo.config.private_folder import name_of
from arroyo.config.run_directory import RunDirectory, find_hidden
from arroyo.control.locks import owner
from arroyo.control.meeting import find_folders
from arroyo.control.requests import request
from arroyo.errors import UnavailableError, UsageError
from arroyo.identifiers import ReplicaName
from arroyo.runner.quarantine.store import BYTES_MAX, ENTRIES_MAX, NEARLY_FULL, Fill, Quarantine
from arroyo.supervision.decisions.events import State
from arroyo.supervision.watching import child
from arroyo.supervision.watching.replica_files import read_counters
from arroyo.telemetry.histogram import merge, quantile_s
from arroyo.telemetry.status_page import read_histograms
from arroyo.telemetry.status_words import INPUTS, Phase

CPU_SAMPLE_S = 0.1
_STAGE_WORDS = ("chain", "name", "run", "state", "lifeline")
"""Last words of the command of a supervised stage."""
LONG_S = 0.5
"""A message that has been in hand for less than this is not told to people."""
Histogram: TypeAlias = Sequence[int]
_ONLY_WHERE_ANY = frozenset(
    {"repeated", "filtered", "skipped", "quarantined", "rejected", "lost", "inline"}
)
"""Columns that are left out while there is nothing in them."""
_COUNTERS = (
    *("received", "sent", "errors", "dropped", "bytes_in", "bytes_out", "in_flight"),
    *("repeated", "filtered", "skipped", "quarantined", "rejected", "lost", "inline"),
)
_COLUMNS = (
    ("replica", "name"),
    ("state", "state"),
    ("pid", "pid"),
    ("uptime_s", "uptime"),
    ("restarts", "restarts"),
    ("received", "received"),
    ("sent", "sent"),
    ("errors", "errors"),
    ("rejected", "rejected"),
    ("dropped", "dropped"),
    ("in_flight", "in flight"),
    ("repeated", "repeated"),
    ("filtered", "filtered"),
    ("skipped", "skipped"),
    ("quarantined", "quarantined"),
    ("lost", "lost"),
    ("in_hand_s", "in hand"),
    ("inline", "inline"),
    ("latency_p50_s", "latency p50"),
    ("latency_p99_s", "p99"),
    ("cpu_percent", "CPU"),
    ("rss_bytes", "RSS"),
)


def read_status(chain: Chain, environ: Mapping[str, str]) -> dict[str, Any]:
    """Look at a chain, running or not.

    Returns
    -------
    dict
        ``chain``, ``state``, ``supervisor`` (its pid, or None), ``quarantine`` (how full it is),
        ``latency_p50_s`` and ``latency_p99_s`` (from the sources to the publishers, all of them)
        and ``stages``: one dict for each replica, from the sources down. There ``reason`` is why a
        replica is down and ``next_try_s`` when it is started again, ``inputs`` how many messages
        came from which stage, ``lost`` also what the life before has lost, ``latency_…`` is from
        the source's handing over to the end of this stage's work, ``hop_…`` from the neighbour's
        sending to its begin, both since the replica has started. ``in_hand_s`` is how long the
        stage's code has had the message, or been in the `flush()`, that it is at; None: it is at
        none. Times in s, sizes in bytes; None where nobody knows.

    Raises
    ------
    UsageError
        It can't be seen from here: it is another user's, or has another run directory.
    """
    run_directory = RunDirectory.locate(chain.name, environ)
    if hidden := find_hidden(chain.name, environ):
        raise UsageError(hidden)
    supervisor = owner(run_directory.lock("supervisor"))
    state, rows = _from_supervisor(chain, run_directory, supervisor)
    if state == State.STOPPED and (elsewhere := _find_elsewhere(chain, run_directory)):
        raise UsageError(elsewhere)
    ends: list[Histogram] = []
    for name, row in zip(chain.replicas, rows, strict=True):
        page = read_counters(run_directory, name, row["pid"]) if row["pid"] else {}
        row["incarnation"] = page.get("incarnation")
        row |= {word: page.get(word, 0) for word in _COUNTERS}
        row["lost"] += page.get("lost_before", 0)
        inputs = enumerate(chain.stages[name.stage].inputs[:INPUTS])
        row["inputs"] = {above.stage: page.get(f"input_{place}", 0) for place, above in inputs}
        row["in_hand_s"] = _in_hand_s(page, time.monotonic())
        seen = read_histograms(run_directory.status_page(name), page["incarnation"]) if page else {}
        row.update(_quantiles("latency", seen.get("latency", ())))
        row.update(_quantiles("hop", seen.get("hop", ())))
        if seen and row["role"] == "publisher":
            ends.append(seen["latency"])
    _add_usage(rows)
    status: dict[str, Any] = {"chain": chain.name, "state": state, "supervisor": supervisor}
    status["quarantine"] = _quarantine(chain, environ)
    return status | _quantiles("latency", merge(ends)) | {"stages": rows}


def _quarantine(chain: Chain, environ: Mapping[str, str]) -> dict[str, Any]:
    fill = Quarantine(find_folders(chain.name, environ).state.quarantine).fill()
    return {
        "messages": fill.messages,
        "messages_max": ENTRIES_MAX,
        "bytes": fill.bytes,
        "bytes_max": BYTES_MAX,
    }


def _in_hand_s(page: Mapping[str, int], now: float) -> float | None:
    """For how long the stage's code has been at what it is at; None: at nothing."""
    if page.get("phase") == Phase.FLUSH:
        since_ns = page["phase_since_ns"]
    elif page.get("phase") == Phase.PROCESS and page["hand_source"]:
        since_ns = page["hand_since_ns"]
    else:
        return None
    return round(max(0.0, now - since_ns / 1e9), 3)


def _quantiles(way: str, counts: Histogram) -> dict[str, float | None]:
    return {f"{way}_p50_s": quantile_s(counts, 0.5), f"{way}_p99_s": quantile_s(counts, 0.99)}


def _from_supervisor(
    chain: Chain, run_directory: RunDirectory, supervisor: int | None
) -> tuple[str, list[dict[str, Any]]]:
    """Ask the supervisor; one that has just gone, or has not begun to answer, is none."""
    if supervisor is not None:
        try:
            reply = request(run_directory.control, "status")
        except UnavailableError:
            pass
        else:
            known = {entry.pop("replica"): entry for entry in reply["replicas"]}
            if known.keys() == set(map(str, chain.replicas)):
                rows = [_row(chain, name) | known[str(name)] for name in chain.replicas]
                return reply["state"], rows
    rows = [_by_hand(chain, run_directory, name) for name in chain.replicas]
    return _state_of_all({row["state"] for row in rows}), rows


def _find_elsewhere(chain: Chain, run_directory: RunDirectory) -> str | None:
    """Say who runs the chain with another run directory, as its processes tell; None: nobody."""
    for process in psutil.process_iter(["cmdline", "uids"]):
        words = process.info["cmdline"] or []
        if len(words) < len(_STAGE_WORDS) or not any(child.__name__ in word for word in words):
            continue
        told = dict(zip(_STAGE_WORDS, words[-len(_STAGE_WORDS) :], strict=True))
        if Path(told["chain"]) != chain.path or Path(told["run"]) == run_directory.path:
            continue
        user = name_of(process.info["uids"].effective)
        return (
            f"can't see chain {chain.name}: {user} runs it, with the run directory {told['run']}; "
            f"ask as that user, with ARROYO_RUN_DIR={Path(told['run']).parent}"
        )
    return None


def _row(chain: Chain, name: ReplicaName) -> dict[str, Any]:
    return {"stage": name.stage, "replica": name.replica, "role": chain.stages[name.stage].role}


def _by_hand(chain: Chain, run_directory: RunDirectory, name: ReplicaName) -> dict[str, Any]:
    """Find a replica that no supervisor knows by the lock that it holds."""
    pid = owner(run_directory.lock(name))
    page = read_counters(run_directory, name, pid) if pid else {}
    state, uptime_s = State.STOPPED, None
    if pid is not None:
        state = State.STARTING
        if page.get("ready_since_ns"):
            draining = page["phase"] in {Phase.DRAIN, Phase.CLOSED, Phase.ENDED}
            state = State.DRAINING if draining else State.READY
            uptime_s = round(time.monotonic() - page["ready_since_ns"] / 1e9, 3)
    row = {"state": state, "pid": pid, "restarts": 0, "uptime_s": uptime_s}
    return _row(chain, name) | row | {"reason": None, "next_try_s": None}


def _state_of_all(states: set[State]) -> State:
    if len(states) == 1:
        return next(iter(states))
    # Some run and some don't, or not yet.
    return State.STARTING if State.STARTING in states else State.DEGRADED


def _add_usage(rows: list[dict[str, Any]]) -> None:
    """Add CPU (percent of one processor, over 0.1 s) and memory of each process."""
    processes = []
    for row in rows:
        row |= {"cpu_percent": None, "rss_bytes": None}
        if row["pid"]:
            try:
                process = psutil.Process(row["pid"])
                process.cpu_percent()
            except psutil.Error:
                pass
            else:
                processes.append((row, process))
    if processes:
        time.sleep(CPU_SAMPLE_S)
    for row, process in processes:
        try:
            row["cpu_percent"] = process.cpu_percent()
            row["rss_bytes"] = process.memory_info().rss
        except psutil.Error:
            continue


def status_table(status: Mapping[str, Any]) -> str:
    """Lay out what `read_status` found as a table for a person. PURE."""
    by = f"supervisor {status['supervisor']}" if status["supervisor"] else "no supervisor"
    head = f"chain {status['chain']}: {status['state']} ({by})"
    if status["latency_p50_s"] is not None:
        median, most = (_short_time(status[f"latency_{which}_s"]) for which in ("p50", "p99"))
        head += f", from source to publisher {median}, 99 % within {most}"
    lines = [head]
    if status["state"] == State.STOPPED:
        return "\n".join([lines[0], "nothing of it is running", *_quarantine_lines(status)])
    shown = [
        (key, title)
        for key, title in _COLUMNS
        if key not in _ONLY_WHERE_ANY or any(row[key] for row in status["stages"])
    ]
    table = [[title for _, title in shown]]
    table += [[_cell(row, key) for key, _ in shown] for row in status["stages"]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        aligned = [
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join([*lines, *_reasons(status["stages"]), *_quarantine_lines(status)])


def _quarantine_lines(status: Mapping[str, Any]) -> list[str]:
    """Say how full the quarantine is, if anything is in it."""
    found = status["quarantine"]
    fill = Fill(found["messages"], found["bytes"])
    if not fill.messages:
        return []
    count = "1 message" if fill.messages == 1 else f"{fill.messages:,} messages"
    line = f"{count} in quarantine; see: arroyo quarantine list {status['chain']}"
    if fill.share >= NEARLY_FULL[0]:
        line += (
            f"\nthe quarantine is {100 * fill.share:.0f} % full ({ENTRIES_MAX:,} messages or "
            f"{BYTES_MAX >> 20:,} MiB at most); stages that can't put a message there stand still: "
            "requeue or drop what is there"
        )
    return [line]


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each replica that is down why, and when it is started again."""
    lines = []
    for row in rows:
        if row["state"] in {State.BACKOFF, State.FAILED} and row["reason"]:
            next_s = row["next_try_s"]
            when = "" if next_s is None else f"; next try in {_duration(next_s)}"
            lines.append(f"{row['stage']}.{row['replica']} {row['reason']}{when}")
    return lines


def _cell(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if key == "replica":
        return f"{row['stage']}.{value}"
    if value is None:
        return "-"
    if key == "in_hand_s" and value < LONG_S:
        return "-"
    if key in _FORMATS:
        return _FORMATS[key](value)
    return f"{value:,}" if isinstance(value, int) and key != "pid" else str(value)


def _short_time(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


_FORMATS: dict[str, Callable[[Any], str]] = {
    "uptime_s": _duration,
    "in_hand_s": _duration,
    "latency_p50_s": _short_time,
    "latency_p99_s": _short_time,
    "cpu_percent": "{:.0f} %".format,
    "rss_bytes": lambda value: f"{value / 2**20:.0f} MiB",
}
