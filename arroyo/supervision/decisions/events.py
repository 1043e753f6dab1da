"""What the supervisor's state machine hears and what it asks for. PURE.

Events come from the loop (processes, readiness, signals, timers), each handed over with the
monotonic time of its arrival. Actions go back to the loop, which carries them out in order.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from arroyo.identifiers import ReplicaName

from .ending import Ending, Evidence
from .health import Condition


class State(StrEnum):
    """State of a replica, and of the chain as a whole."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    READY = "READY"
    DEGRADED = "DEGRADED"
    DRAINING = "DRAINING"
    BACKOFF = "BACKOFF"
    FAILED = "FAILED"


# Events.


class ProcessStarted(msgspec.Struct, frozen=True):
    """The process that was asked for runs."""

    replica: ReplicaName
    pid: int


class StartFailed(msgspec.Struct, frozen=True):
    """The process that was asked for could not be made (no memory, no descriptors…)."""

    replica: ReplicaName
    reason: str


class ProcessEnded(msgspec.Struct, frozen=True):
    """The process is gone; `status` is its exit code, or minus the signal that killed it."""

    replica: ReplicaName
    status: int
    evidence: Evidence = Evidence()


class Ready(msgspec.Struct, frozen=True):
    """The replica said READY=1."""

    replica: ReplicaName


class Stopping(msgspec.Struct, frozen=True):
    """The replica said STOPPING=1: it drains, for whatever reason."""

    replica: ReplicaName


class Idle(msgspec.Struct, frozen=True):
    """The replica has had nothing to do since `since`; heard for `awaiting_end` ones only."""

    replica: ReplicaName
    since: float


class StopRequested(msgspec.Struct, frozen=True):
    """Somebody wants the chain to end; the second time: now."""

    by: str


class FolderRemoved(msgspec.Struct, frozen=True):
    """The run directory is gone: nobody can see or stop the chain, nor join it."""

    path: str


class Judged(msgspec.Struct, frozen=True):
    """How the living process is doing has changed.

    `for_s`: it has been doing so for so long; `place`: where it hangs, if it does.
    """

    replica: ReplicaName
    condition: Condition
    for_s: float
    place: str = ""


class Corrected(msgspec.Struct, frozen=True):
    """A file of a replica that is FAILED for its configuration has changed."""

    replica: ReplicaName
    file: str


class Tick(msgspec.Struct, frozen=True):
    """Time has passed."""


ReplicaEvent = (
    ProcessStarted | StartFailed | ProcessEnded | Ready | Stopping | Idle | Judged | Corrected
)
Event = ReplicaEvent | StopRequested | FolderRemoved | Tick


# Actions.


class Spawn(msgspec.Struct, frozen=True):
    """Start a process for the replica, and report ProcessStarted or StartFailed."""

    replica: ReplicaName


class Signal(msgspec.Struct, frozen=True):
    """Send the signal to the replica's process."""

    replica: ReplicaName
    number: int


class Finish(msgspec.Struct, frozen=True):
    """The chain is over; `exit_code`, and `reasons` if that is not 0, by its processes alone."""

    exit_code: int
    reasons: tuple[str, ...] = ()


# Actions that tell people what happened.


class BecameReady(msgspec.Struct, frozen=True):
    """A replica is READY, `took_s` after its process was asked for."""

    replica: ReplicaName
    took_s: float


class ChainBecameReady(msgspec.Struct, frozen=True):
    """Every replica is READY for the first time."""

    took_s: float


class Finished(msgspec.Struct, frozen=True):
    """A replica has done all its work, or was stopped in order."""

    replica: ReplicaName
    after_s: float


class WillRestart(msgspec.Struct, frozen=True):
    """A replica ended unexpectedly and comes back in `delay_s` (0: at once)."""

    replica: ReplicaName
    ending: Ending
    delay_s: float
    attempt: int
    limit: int


class WillRetry(msgspec.Struct, frozen=True):
    """A replica waits for something outside, which it named last; next try in `delay_s`."""

    replica: ReplicaName
    ending: Ending
    delay_s: float


class GaveUp(msgspec.Struct, frozen=True):
    """A replica is FAILED; it is tried again in `retry_s`, or not by itself (None).

    `until_changed`: it is tried again when one of its files has changed.
    """

    replica: ReplicaName
    ending: Ending
    retry_s: float | None
    until_changed: bool = False


class TriesAgain(msgspec.Struct, frozen=True):
    """A replica that was FAILED for its configuration starts again: `file` has changed."""

    replica: ReplicaName
    file: str


class EndedBadly(msgspec.Struct, frozen=True):
    """A replica ended with an error while the chain was being stopped."""

    replica: ReplicaName
    ending: Ending


class Draining(msgspec.Struct, frozen=True):
    """The chain stops: sources first, at most `timeout_s`."""

    by: str
    timeout_s: float


class CutShort(msgspec.Struct, frozen=True):
    """The chain stops now, with `left` still running."""

    left: tuple[ReplicaName, ...]
    by: str


class Killed(msgspec.Struct, frozen=True):
    """A replica did not end in time and is killed."""

    replica: ReplicaName
    cause: str


class BecameUnwell(msgspec.Struct, frozen=True):
    """A living replica stands still, and that is not its own doing."""

    replica: ReplicaName
    condition: Condition


class BecameWell(msgspec.Struct, frozen=True):
    """A replica that stood still goes on."""

    replica: ReplicaName


Announcement = (
    BecameReady
    | ChainBecameReady
    | Finished
    | WillRestart
    | WillRetry
    | GaveUp
    | TriesAgain
    | EndedBadly
    | Draining
    | CutShort
    | Killed
    | BecameUnwell
    | BecameWell
)
Action = Spawn | Signal | Finish | Announcement
