"""`arroyo status --watch`: the table again and again, in place on a terminal, else one by one."""

from __future__ import annotations

import io
import shutil
import sys
import time
from datetime import UTC, datetime
from typing import NoReturn

from arroyo.supervision.live.live_chain import LiveChain
from arroyo.supervision.live.table import as_text

FIRST_S = 0.5
"""After so long there are figures for the first time."""
_CLEAR = "\x1b[2J"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(live: LiveChain, every_s: float) -> NoReturn:
    """Show a chain until Ctrl-C, or until nobody reads it any more."""
    # A terminal of another encoding shows what it can.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    in_place = sys.stdout.isatty()
    sys.stdout.write(_CLEAR if in_place else "")
    live.look()
    due_s = time.monotonic() + min(FIRST_S, every_s)
    while True:
        time.sleep(max(0.0, due_s - time.monotonic()))
        due_s = max(due_s + every_s, time.monotonic())
        if in_place:
            size = shutil.get_terminal_size()
            lines = [_now(), *as_text(live.look(), size.columns)]
            sys.stdout.write(on_screen(lines, size.columns, size.lines))
        else:
            sys.stdout.write("\n".join([_now(), *as_text(live.look(), None), "", ""]))
        sys.stdout.flush()


def _now() -> str:
    return datetime.now(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def on_screen(lines: list[str], columns: int, rows: int) -> str:
    """Return what writes lines over those before; what does not fit is counted. PURE."""
    room = max(1, rows - 1)  # the cursor stands in the last one
    if len(lines) > room:
        left_out = len(lines) - room + 1
        lines = [*lines[: room - 1], f"({left_out} lines more; the terminal is too small)"]
    text = "".join(f"{line[:columns]}{_CLEAR_LINE}\n" for line in lines)
    return f"{_HOME}{text}{_CLEAR_BELOW}"
