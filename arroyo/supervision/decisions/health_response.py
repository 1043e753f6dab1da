"""The answer to a changed condition: an announcement, stacks and SIGKILL, or nothing. PURE."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from . import actions as act
from . import events as ev
from .actions import Action
from .health import Condition
from .replica import ReplicaState

STACKS_S = 0.5
"""From the signal that makes a hung process write its stacks to the one that kills it."""
DUMP_SIGNAL = signal.SIGUSR1
LAST_STACKS_S = 0.1
"""The same for one that has too much memory, and may take more meanwhile."""
STANDING_STILL = frozenset({Condition.STOPPED, Condition.UNINTERRUPTIBLE})
"""Conditions that are announced. Being held up is ordinary, and only shown in the status."""
UNWELL: Mapping[Condition, str] = {
    Condition.HELD_UP: "is held up: it waits for {}",
    Condition.STOPPED: "is stopped by a signal; kill -CONT lets it go on",
    Condition.TRACED: "is stopped in a debugger",
    Condition.UNINTERRUPTIBLE: "waits within the kernel, for a disk or file server perhaps",
    Condition.HUNG: "hangs in {}; it is killed",
    Condition.FORGOTTEN: "was stopped by a signal for too long; it is killed",
    Condition.TOO_LARGE: "has more memory than its memory_max_bytes; it is killed",
}
"""Why a process is not well, in words that follow its name."""


def respond(replica: ReplicaState, change: ev.ConditionChanged, now: float) -> list[Action]:
    """Note the condition of a replica's process; return what to do about it.

    A hung process that goes on before it was killed is not killed.
    """
    condition, for_s = change.condition, change.for_s
    before, replica.condition = replica.condition, condition
    replica.unwell = UNWELL.get(condition, "").format(change.place)
    replica.hung, replica.too_large, replica.kill_at = "", "", None
    if condition is Condition.HUNG:
        replica.hung = f"hung in {change.place} for {for_s:.0f} s"
        replica.kill_at = now + STACKS_S
        return [act.Hung(replica.name, replica.hung), act.Signal(replica.name, DUMP_SIGNAL)]
    if condition is Condition.TOO_LARGE:
        return _end_too_large(replica, change.memory_bytes, now)
    if condition is Condition.FORGOTTEN:
        killed = act.Killed(replica.name, f"it was stopped for {for_s:.0f} s")
        return [killed, act.Signal(replica.name, signal.SIGKILL)]
    if condition in STANDING_STILL:
        return [act.BecameUnwell(replica.name, condition)]
    stood_still = before is Condition.HUNG or before in STANDING_STILL
    return [act.BecameWell(replica.name)] if stood_still else []


def _end_too_large(replica: ReplicaState, memory_bytes: int, now: float) -> list[Action]:
    """Kill a process that has more memory than it may; one that is READY writes its stacks first.

    Before that the signal to do so would end it.
    """
    limit_bytes = replica.stage.memory_max_bytes or 0
    replica.too_large = (
        f"{_mebibytes(memory_bytes)} of memory, more than its memory_max_bytes of "
        f"{_mebibytes(limit_bytes)}"
    )
    killed = act.Killed(replica.name, f"it has {replica.too_large}")
    if not replica.is_up:
        return [killed, act.Signal(replica.name, signal.SIGKILL)]
    replica.kill_at = now + LAST_STACKS_S
    return [killed, act.Signal(replica.name, DUMP_SIGNAL)]


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"
