"""How a process ended: what was found, in words, and whether a message may be to blame. PURE."""

from __future__ import annotations

import signal

import msgspec

from arroyo.telemetry.status_words import Phase

FATAL_SIGNALS = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGBUS: "a bus error",
    signal.SIGILL: "an illegal instruction",
    signal.SIGFPE: "an arithmetic error",
    signal.SIGABRT: "an abort",
}
"""What code does to itself. A SIGKILL comes from outside and is no evidence against a message."""


FINISHED = Phase.ENDED.name
"""What a process that has done all its work is at, in `Evidence.phase`."""
AFTER_WORK = frozenset({Phase.DRAIN.name, Phase.ENDED.name})
"""Phases after the work of a process that said STOPPING: `close()`, and leaving."""


class Evidence(msgspec.Struct, frozen=True):
    """What was found where a process has ended, beside its exit status."""

    message: str = ""
    """Message in hand: ``images.0 message 4711``."""
    said: str = ""
    """What the process said last about why it ended."""
    phase: str = ""
    """What it was at, as a name of `Phase`; empty: it had no status page."""
    hung: str = ""
    """In which way it hung, if the supervisor ended it for that: ``hung in process() for 31 s``."""
    dumped_core: bool = False
    out_of_memory: bool = False
    """Whether the kernel killed it for lack of memory."""
    stacks: str = ""
    """File with the stacks of its threads."""


class Ending(msgspec.Struct, frozen=True):
    """How a process ended, or why there was none."""

    after_s: float
    status: int | None = None
    """Exit code, or minus the signal that killed it; None: it never ran."""
    cause: str = ""
    """Why the supervisor ended it, or why it could not be started."""
    evidence: Evidence = Evidence()


def blame(status: int, evidence: Evidence) -> str:
    """Say in words what a message in hand may have done to the process; empty: nothing."""
    if evidence.hung:
        return evidence.hung
    if evidence.out_of_memory:
        return "was killed by the kernel for lack of memory"
    if status > 0 and "MemoryError" in evidence.said:
        return "ran out of memory (MemoryError)"
    if -status in FATAL_SIGNALS:
        return f"died of {FATAL_SIGNALS[signal.Signals(-status)]} ({signal_name(-status)})"
    if status >= 0 and evidence.phase == Phase.PROCESS.name and evidence.message:
        # Past all that catches Python's own ways to end: C, Fortran, or os._exit().
        return f"was ended by an exit({status}) in the stage's own code"
    return ""


def describe_end(ending: Ending, after: str) -> str:
    """Say in words how a process ended `after` so long (``3.2 s``); its name goes in front."""
    status, cause, evidence = ending.status, ending.cause, ending.evidence
    if status is None:
        return f"could not be started: {cause}" if cause else "could not be started"
    detail = cause or evidence.said
    if how := blame(status, evidence):
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
    """Give the name of a signal; a few have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
