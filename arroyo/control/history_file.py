"""Last transitions of a process as text: for `arroyo status --history`, or after a crash.

A process that fails leaves them beside its log, in ``log/STAGE.R.history.txt``. The file stays
until the next failure, so it can still be read the morning after.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from arroyo.clock import Clock, SystemClock
from arroyo.durable.replaced_file import replace_file
from arroyo.protocol.values.history import History

LINE_CHARACTERS = 500
"""A longer line is cut: the reason of an end may be long, and a reply has limits."""


def history_file(log: Path) -> Path:
    """Return the path of the history that the process with this log leaves when it fails."""
    return log.with_suffix(".history.txt")


def history_text(name: str, history: History, clock: Clock | None = None) -> str:
    """Return a heading and a line for each transition, with its time of day in UTC, as in logs.

    Whatever the values hold, the text can be encoded and fits into a reply.

    `clock`: clock of the machine; `history` has its monotonic times.
    """
    clock = clock or SystemClock()
    monotonic_began_at = clock.wall() - clock.monotonic()

    def time_of_day(now: float) -> str:
        return f"{datetime.fromtimestamp(monotonic_began_at + now, UTC):%H:%M:%S.%f}"

    day = datetime.fromtimestamp(clock.wall(), UTC)
    lines = [line[:LINE_CHARACTERS] for line in history.lines(time_of_day)]
    heading = (
        f"{name} (pid {os.getpid()}) at {day:%Y-%m-%dT%H:%M:%S}Z: "
        f"its last {len(lines)} transitions, times in UTC"
    )
    return "\n".join([heading, *lines, ""]).encode(errors="backslashreplace").decode()


def leave_history(log: Path, text: str) -> Path | None:
    """Write `text` beside a log, readable by its user alone, in place of an earlier one.

    Returns where it is; None where it can't be written.
    """
    path = history_file(log)
    try:
        replace_file(path, text.encode(), sync=False)
    except OSError:
        return None
    return path
