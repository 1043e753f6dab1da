"""What follows from how a living process is doing: nothing, an announcement, or its end. PURE."""

from __future__ import annotations

import signal

from . import events as ev
from .events import Action
from .health import Condition
from .replica import ReplicaState

STACKS_S = 0.5
"""From the signal that makes a hung process write its stacks to the one that kills it."""
DUMP_SIGNAL = signal.SIGUSR1
STANDING_STILL = frozenset({Condition.STOPPED, Condition.UNINTERRUPTIBLE})
"""What people are told of. That a stage is held up is ordinary, and only shown."""


def take_verdict(replica: ReplicaState, judged: ev.Judged, now: float) -> list[Action]:
    """Note how a replica's process is doing; return what to do about it.

    One that has come to itself before it was killed is let live.
    """
    condition, for_s = judged.condition, judged.for_s
    before, replica.condition = replica.condition, condition
    replica.hung, replica.kill_at = "", None
    if condition is Condition.HUNG:
        replica.hung = f"hung in {judged.place} for {for_s:.0f} s"
        replica.kill_at = now + STACKS_S
        return [ev.Signal(replica.name, DUMP_SIGNAL)]
    if condition is Condition.FORGOTTEN:
        killed = ev.Killed(replica.name, f"it was stopped for {for_s:.0f} s")
        return [killed, ev.Signal(replica.name, signal.SIGKILL)]
    if condition in STANDING_STILL:
        return [ev.BecameUnwell(replica.name, condition)]
    return [ev.BecameWell(replica.name)] if before in STANDING_STILL else []
