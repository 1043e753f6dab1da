"""How a process ended: evidence, in words, and whether a message may be to blame. PURE."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import msgspec

from arroyo.identifiers import ReplicaName
from arroyo.telemetry.status_words import Phase

FATAL_SIGNALS = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGBUS: "a bus error",
    signal.SIGILL: "an illegal instruction",
    signal.SIGFPE: "an arithmetic error",
    signal.SIGABRT: "an abort",
}
"""Signals by which code ends itself. SIGKILL comes from outside: no evidence against a message."""
FINISHED = Phase.ENDED.name
"""`Evidence.phase` of a process that has done all its work."""
AFTER_WORK = frozenset({Phase.DRAIN.name, Phase.ENDED.name})
"""Phases after the work of a process that said STOPPING: `close()`, and leaving."""
PERMANENT_EXITS = frozenset({64, 78})
"""Wrong usage or configuration (sysexits): the same again would end the same way."""
TRY_LATER_EXIT = 75
"""Something that the stage needs is away for now (sysexits); the stage itself is fine."""
NAMED_MAX = 5
"""How many replicas a sentence names at most; more of them are counted."""


class Evidence(msgspec.Struct, frozen=True):
    """Traces of a process that has ended, beside its exit status."""

    message: str = ""
    """Message in hand: ``images.0 message 4711``."""
    said: str = ""
    """Reason that the process gave, or the last error that it logged."""
    phase: str = ""
    """Name of its `Phase`; empty: it had no status page."""
    hung: str = ""
    """How it hung, if the supervisor killed it for that: ``hung in process() for 31 s``."""
    too_large: str = ""
    """How much more memory it had than it may, if the supervisor killed it for that."""
    dumped_core: bool = False
    out_of_memory: bool = False
    """Whether the kernel killed it for lack of memory."""
    stacks: str = ""
    """File with the stacks of its threads."""
    last_lines: tuple[str, ...] = ()
    """Its last log lines and what it printed last, oldest first."""


class Ending(msgspec.Struct, frozen=True):
    """How a process ended, or why there was none."""

    after_s: float
    status: int | None = None
    """Exit code, or minus the signal that killed it; None: it never ran."""
    cause: str = ""
    """Why the supervisor killed it, or why it could not be started."""
    evidence: Evidence = Evidence()


def blame(status: int, evidence: Evidence) -> str:
    """Say in words how a message in hand may have ended the process; empty: it did not."""
    if evidence.hung:
        return evidence.hung
    if lack := _lack_of_memory(status, evidence):
        return lack
    if -status in FATAL_SIGNALS:
        return f"died of {FATAL_SIGNALS[signal.Signals(-status)]} ({signal_name(-status)})"
    if status >= 0 and evidence.phase == Phase.PROCESS.name and evidence.message:
        # Python's own ways to exit are caught, so this was C, Fortran or os._exit().
        return f"was ended by an exit({status}) in the stage's own code"
    return ""


def _lack_of_memory(status: int, evidence: Evidence) -> str:
    if evidence.too_large:
        return f"was killed for having {evidence.too_large}"
    if evidence.out_of_memory:
        return "was killed by the kernel for lack of memory"
    if status > 0 and "MemoryError" in evidence.said:
        return "ran out of memory (MemoryError)"
    return ""


def describe_end(ending: Ending, after: str) -> str:
    """Say in words how a process ended `after` so long (``3.2 s``); its name goes in front."""
    status, cause, evidence = ending.status, ending.cause, ending.evidence
    if status is None:
        return f"could not be started: {cause}" if cause else "could not be started"
    detail = cause or evidence.said
    if how := blame(status, evidence):
        how = f"{how}," if evidence.too_large else how
        text = f"{how} on {evidence.message}" if evidence.message else f"{how} after {after}"
    elif cause:
        text = f"ended after {after}"
    elif status < 0:
        text = f"was killed ({signal_name(-status)}) after {after}"
    elif status == 0:
        text = f"exited with 0 after {after}, with its work unfinished"
    else:
        text = f"exited with {status} after {after}"
    text = f"{text}: {detail}" if detail else text
    text = f"{text}; it dumped core" if evidence.dumped_core else text
    return f"{text}; its stack is in {evidence.stacks}" if evidence.stacks else text


def signal_name(number: int) -> str:
    """Return the name of a signal; a few have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def name_replicas(names: Sequence[ReplicaName]) -> str:
    """Return the names of a few replicas, or the number of many."""
    return ", ".join(map(str, names)) if len(names) <= NAMED_MAX else f"{len(names)} processes"
