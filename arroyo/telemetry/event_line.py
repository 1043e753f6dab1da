"""One line of a chain's event log: a line of a log that says in fields, too, what has happened."""

from __future__ import annotations

import msgspec

from .logs import LogLine


class ExitReport(msgspec.Struct, omit_defaults=True, frozen=True):
    """How a process has ended; what does not apply is left out."""

    after_s: float
    """Time from its start."""
    code: int | None = None
    """Exit code."""
    signal: str = ""
    """Name of the signal that killed it."""
    cause: str = ""
    """Why the supervisor killed it, or why it could not be started."""
    said: str = ""
    """Reason that it gave, or the last error that it logged."""
    in_hand: str = ""
    """Message that it was working on: ``images.0 message 4711``."""
    phase: str = ""
    """What it was doing, as on its status page."""
    hung: str = ""
    """How it hung, if it was killed for that."""
    dumped_core: bool = False
    out_of_memory: bool = False
    """Whether the kernel killed it for lack of memory."""
    stacks: str = ""
    """File with the stacks of its threads."""
    log: tuple[str, ...] = ()
    """Its last log lines, oldest first."""


class EventLine(LogLine, omit_defaults=True, kw_only=True):
    """One event. `stage` is the replica that it is about, or ``supervisor``: the whole chain."""

    event: str = ""
    """What has happened: one of the events in supervision/README.md."""
    monotonic_s: float = 0.0
    """When, by a clock that nobody sets: it tells the order, and how long things took."""
    by: str = ""
    """Who asked for it."""
    process: int | None = None
    """Pid of the process that was started; `pid` is the supervisor's."""
    next_s: float | None = None
    """In how long it is tried again."""
    count: int = 0
    """How many messages more are in quarantine, or lost."""
    exit_code: int | None = None
    """That of the chain."""
    exit: ExitReport | None = None
