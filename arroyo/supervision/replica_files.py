"""What replicas leave behind for others to read: their status pages and the ends of their logs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName
from arroyo.protocol.status_page import Phase
from arroyo.telemetry.status_page import read_status_page

_TAIL_BYTES = 64 * 1024


class _LogLine(msgspec.Struct):
    level: str
    message: str
    pid: int


def last_error(log: Path, pid: int) -> str:
    """Find what process `pid` logged last as an error; empty where it did not say anything."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            found = msgspec.json.decode(line, type=_LogLine)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if found.pid == pid and found.level in {"ERROR", "CRITICAL"}:
            return "; ".join(found.message.splitlines())
    return ""


def read_counters(run_directory: RunDirectory, name: ReplicaName, pid: int) -> dict[str, int]:
    """Read the status page of process `pid`; empty where it has none, or only a predecessor's."""
    page = read_status_page(run_directory.status_page(name))
    return page if page is not None and page["pid"] == pid else {}


def idle_since(page: dict[str, int]) -> float | None:
    """Since when a replica with this page has had nothing to do, in s (monotonic).

    None: it is at work. A replica without a page says nothing of its work: it counts as idle.
    """
    if not page:
        return 0.0
    return page["phase_since_ns"] / 1e9 if page["phase"] == Phase.IDLE else None
