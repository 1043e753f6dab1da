"""The rules of stages that are programs, and the stage made of such a table. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from arroyo.config.graph import Ready, Stage
from arroyo.config.schema import ReadyTable, StageTable

_OWN_KEYS = ("command", "ready")
_PROCESS_KEYS = (
    *("restart", "backoff_s", "start_timeout_s"),
    *("cpus", "nice", "memory_max_bytes", "open_files", "env"),
)
_KEYS = (*_OWN_KEYS, *_PROCESS_KEYS)
_CLASS_KEYS = ("listener", "operator", "publisher")


def program_problems(table: StageTable, *, damaged: bool = False) -> Iterator[str]:
    """Yield what is wrong with a stage's table where it is a program, or looks like one.

    `damaged`: something in it could not be read, and has its mistake already.
    """
    has_class = any(getattr(table, key) is not None for key in _CLASS_KEYS)
    if has_class and table.ready is not None:
        yield "ready: only a program has this key; others say themselves when they are ready"
    if has_class or table.command is None:
        return
    if not "".join(table.command[:1]):
        yield "command: found no program, expected one and its arguments as a list"
    elif any("\0" in word for word in table.command):
        yield "command: found a zero byte, which no program's argument can have"
    ready = table.ready if isinstance(table.ready, ReadyTable) and not damaged else None
    if ready is not None and (ready.port is None) == (not ready.log):
        yield "ready: expected one of port and log"
    for field in msgspec.structs.fields(StageTable):
        if field.name in (*_KEYS, *_CLASS_KEYS):
            continue
        empty = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        if getattr(table, field.name) != empty:
            yield f"{field.name}: a program does not have this key, but {', '.join(_KEYS)}"


def make_program(name: str, table: StageTable) -> Stage:
    """Make the stage of a table with a `command`."""
    found = table.ready or ReadyTable()
    return Stage(
        name=name,
        role="program",
        target="",
        command=tuple(table.command or ()),
        ready=Ready(notify=True) if found == "notify" else Ready(port=found.port, log=found.log),
        process_timeout_s=0.0,  # what it works on is its own affair
        **process_keys(table),
    )


def process_keys(table: StageTable) -> dict[str, Any]:
    """Return what a table says of a stage's processes, whatever runs in them, by key."""
    memory = table.memory_max_bytes
    return {
        "restart": table.restart,
        "backoff_s": float(table.backoff_s),
        "start_timeout_s": float(table.start_timeout_s),
        "cpus": tuple(table.cpus),
        "nice": table.nice,
        "memory_max_bytes": None if memory is None else int(memory),
        "open_files": table.open_files,
        "env": table.env,
    }
