"""Files of a replica as other processes read them: status page, end of log, end of output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName
from arroyo.telemetry.log_tail import backwards
from arroyo.telemetry.logs import LogLine
from arroyo.telemetry.output import output_file
from arroyo.telemetry.status_page import read_status_page
from arroyo.telemetry.status_words import Phase

_TAIL_BYTES = 64 * 1024
_OUTPUT_TAIL_BYTES = 4096


def last_error(log: Path, pid: int) -> str:
    """Return the last error that process `pid` logged; empty where there is none."""
    for line in _backwards(log, pid):
        if line.level in {"ERROR", "CRITICAL"}:
            return "; ".join(line.message.splitlines())
    return ""


def last_lines(log: Path, pid: int, count: int = 10) -> list[str]:
    """Return the last messages that process `pid` logged, oldest first."""
    lines = islice(_backwards(log, pid), count)
    return [f"{line.level} {line.message}" for line in lines][::-1]


def last_output(log: Path, count: int = 10) -> list[str]:
    """Return the last lines that the process with this log printed, oldest first."""
    try:
        with output_file(log).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _OUTPUT_TAIL_BYTES))
            lines = file.read(_OUTPUT_TAIL_BYTES).splitlines()
    except OSError:
        return []
    return [line.decode(errors="backslashreplace") for line in lines[-count:]]


def _backwards(log: Path, pid: int) -> Iterator[LogLine]:
    """Yield the lines of process `pid`, newest first, as far as they can be read."""
    with suppress(OSError):
        for line in backwards(log, LogLine, _TAIL_BYTES):
            if line.pid == pid:
                yield line


def read_counters(run_directory: RunDirectory, name: ReplicaName, pid: int) -> dict[str, int]:
    """Read the status page of process `pid`; empty where it has none, or only a predecessor's."""
    page = read_status_page(run_directory.status_page(name))
    return page if page is not None and page["pid"] == pid else {}


def idle_since(page: dict[str, int]) -> float | None:
    """Return since when a replica with this status page has been idle, in s (monotonic).

    None: it is at work. A replica without a page counts as idle.
    """
    if not page:
        return 0.0
    return page["phase_since_ns"] / 1e9 if page["phase"] == Phase.IDLE else None
