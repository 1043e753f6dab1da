"""What a process did last, in words for people: `arroyo status --history`, or after a crash.

A process that fails leaves it beside its log, ``log/STAGE.R.history.txt``. It stays there until
the next one that fails, so whoever comes in the morning still finds it.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

from arroyo.clock import Clock, SystemClock
from arroyo.protocol.values.history import History

LINE_CHARACTERS = 500
"""More of a line is cut off: what a stage said of its end may be long, and a reply has limits."""


def history_file(log: Path) -> Path:
    """Path of what the process with this log leaves when it fails."""
    return log.with_suffix(".history.txt")


def history_text(name: str, history: History, clock: Clock | None = None) -> str:
    """Write a heading and one line for each transition, with its time of day in UTC, as in logs.

    Whatever the values hold, the text can be encoded, and is no longer than a reply may be.

    Parameters
    ----------
    name
        Whose history it is.
    clock
        That of the machine; `history` has its monotonic time.
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
    """Write `text` beside a log, for its user alone, in place of what was there.

    Returns
    -------
    Path or None
        Where it is; None where the disk takes no file.
    """
    path = history_file(log)
    draft = path.with_name(f"{path.name}.draft")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            file.write(text.encode())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        return None
    return path
