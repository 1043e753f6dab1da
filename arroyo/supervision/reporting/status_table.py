"""The status of a chain as a table for people. PURE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from arroyo.config.parameters import say
from arroyo.runner.quarantine.store import BYTES_MAX, ENTRIES_MAX, NEARLY_FULL, Fill
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.totals import say_messages

from .formats import duration, mebibytes, short_time

LONG_S = 0.5
"""A message that has been in hand for less than this is not shown."""
_ONLY_WHERE_ANY = "repeated", "filtered", "skipped", "quarantined", "rejected", "lost", "inline"
"""Counters whose columns are left out while they are 0 everywhere."""
_COLUMNS = (
    *("replica", "state", "pid", "uptime_s", "restarts"),
    *("received", "sent", "errors", "rejected", "dropped", "in_flight"),
    *("repeated", "filtered", "skipped", "quarantined", "lost", "in_hand_s", "inline"),
    *("latency_p50_s", "latency_p99_s", "cpu_percent", "rss_bytes"),
)
_OF_PROGRAMS = "replica", "state", "pid", "uptime_s", "restarts", "cpu_percent", "rss_bytes"
"""Columns of stages that are foreign programs; of messages they know nothing."""
_TITLES = {
    **{"replica": "name", "uptime_s": "uptime", "in_flight": "in flight", "in_hand_s": "in hand"},
    **{"latency_p50_s": "latency p50", "latency_p99_s": "p99"},
    **{"repeated": "sent again", "cpu_percent": "CPU", "rss_bytes": "RSS"},
}
"""Titles of columns that are not the names of their values."""
_UNKNOWN = "restarts, parameters that were set, and why a process is down are not known"


def status_table(status: Mapping[str, Any]) -> str:
    """Lay out the result of `read_status` as a table for people. PURE."""
    by = f"supervisor {status['supervisor']}" if status["supervisor"] else "no supervisor"
    head = f"chain {status['chain']}: {status['state']} ({by})"
    if status["latency_p50_s"] is not None:
        median, most = (short_time(status[f"latency_{which}_s"]) for which in ("p50", "p99"))
        head += f", from source to publisher {median}, 99 % within {most}"
    if status["state"] == State.STOPPED:
        return "\n".join([head, "none of its processes runs", *notes(status)])
    shown = [
        key
        for key in _COLUMNS
        if key not in _ONLY_WHERE_ANY or any(row[key] for row in status["stages"])
    ]
    table = [[_TITLES.get(key, key) for key in shown]]
    table += [[_cell(row, key) for key in shown] for row in status["stages"]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [head]
    for cells in table:
        aligned = [
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join([*lines, *notes(status)])


def notes(status: Mapping[str, Any]) -> list[str]:
    """Say why replicas are down, what others wait for, what was changed, what is in quarantine."""
    found = [_silence(status)] if status["supervisor_answers"] is False else []
    found += _reasons(status["stages"]) + _lost_before(status["stages"])
    found += [status["file_changed"]] if status["file_changed"] else []
    return [*found, *_set_parameters(status), *_quarantine_lines(status)]


def _silence(status: Mapping[str, Any]) -> str:
    """Say why the supervisor gives no answer, and what is not known for that."""
    if status["supervisor_stopped"]:
        lets_it = f"kill -CONT {status['supervisor']} lets it go on"
        return f"the supervisor is stopped by a signal; {lets_it}; {_UNKNOWN}"
    return f"the supervisor gives no answer: it starts, ends or stands still; {_UNKNOWN}"


def _set_parameters(status: Mapping[str, Any]) -> list[str]:
    """Say which parameters are not as in the chain file."""
    return [
        f"{stage}: {name} = {say(found['value'])}, set by {found['by']}; "
        f"{say(found['file'])} in the chain file"
        for stage, parameters in status["parameters"].items()
        for name, found in parameters.items()
        if found["value"] != found["file"]
    ]


def _quarantine_lines(status: Mapping[str, Any]) -> list[str]:
    """Say how full the quarantine is, unless it is empty."""
    found = status["quarantine"]
    fill = Fill(found["messages"], found["bytes"])
    if not fill.messages:
        return []
    back = f", {found['requeued']} of them on the way back" if found["requeued"] else ""
    line = f"{say_messages(fill.messages)} in quarantine{back}; "
    line += f"see: arroyo quarantine list {status['chain']}"
    if fill.share >= NEARLY_FULL[0]:
        line += (
            f"\nthe quarantine is {100 * fill.share:.0f} % full ({ENTRIES_MAX:,} messages or "
            f"{BYTES_MAX >> 20:,} MiB at most); stages that can't put a message there stand still: "
            "requeue or drop what is there"
        )
    return [line]


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say why each replica that is down, or can't work, is so, and what others wait for."""
    lines = []
    for row in rows:
        if row["waiting_s"] is not None:
            waited = duration(row["waiting_s"])
            lines.append(
                f"{row['stage']}.{row['replica']} has waited for {waited}: {row['reason']}"
            )
            continue
        if row["stopped_by"]:
            how = "is stopped" if row["state"] == State.STOPPED else "is stopping"
            lines.append(f"{row['stage']}.{row['replica']} {how}, by {row['stopped_by']}")
        if row["state"] not in {State.STOPPED, State.READY} and row["reason"]:
            next_s = row["next_try_s"]
            when = "" if next_s is None else f"; next try in {duration(next_s)}"
            lines.append(f"{row['stage']}.{row['replica']} {row['reason']}{when}")
    return lines


def _lost_before(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how much of what is counted as lost is no loss of the present process."""
    return [
        f"{row['stage']}.{row['replica']}: {count:,} of {row['lost']:,} lost by the life before, "
        "which had them in hand when it ended; some may have arrived"
        for row in rows
        if (count := row["lost_before"])
    ]


def _cell(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if key == "replica":
        return f"{row['stage']}.{value}"
    if row["role"] == "program" and key not in _OF_PROGRAMS:
        return "-"
    if value is None or (key == "in_hand_s" and value < LONG_S):
        return "-"
    if key in _FORMATS:
        return _FORMATS[key](value)
    return f"{value:,}" if isinstance(value, int) and key != "pid" else str(value)


_FORMATS: dict[str, Callable[[Any], str]] = {
    "uptime_s": duration,
    "in_hand_s": duration,
    "latency_p50_s": short_time,
    "latency_p99_s": short_time,
    "cpu_percent": "{:.0f} %".format,
    "rss_bytes": mebibytes,
}
