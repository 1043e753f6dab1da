"""What the supervisor's state machine hears and what it asks for. PURE.

Events come from the loop (processes, readiness, signals, timers), each handed over with the
monotonic time of its arrival. Actions go back to the loop, which carries them out in order.
"""

from __future__ import annotations

from collections.abc import Iterator
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


class Happening(msgspec.Struct, frozen=True):
    """An event or an action; `str()` writes it on one line, for the machine's history."""

    def __str__(self) -> str:
        told = [f"{key}={value}" for key, value in _told(self) if key != "replica"]
        name = [str(self.replica)] if hasattr(self, "replica") else []
        return " ".join([*name, type(self).__name__, *told])


def _told(part: msgspec.Struct) -> Iterator[tuple[str, object]]:
    """Yield the fields that say something, those of structs in it as well."""
    for field in msgspec.structs.fields(part):
        value = getattr(part, field.name)
        if isinstance(value, msgspec.Struct):
            yield from _told(value)
        elif value != field.default:
            yield field.name, f"{value:.3f}" if isinstance(value, float) else value


# Events.


class ProcessStarted(Happening, frozen=True):
    """The process that was asked for runs."""

    replica: ReplicaName
    pid: int


class StartFailed(Happening, frozen=True):
    """The process that was asked for could not be made (no memory, no descriptors…)."""

    replica: ReplicaName
    reason: str


class ProcessEnded(Happening, frozen=True):
    """The process is gone; `status` is its exit code, or minus the signal that killed it."""

    replica: ReplicaName
    status: int
    evidence: Evidence = Evidence()


class Ready(Happening, frozen=True):
    """The replica said READY=1."""

    replica: ReplicaName


class Stopping(Happening, frozen=True):
    """The replica said STOPPING=1: it drains, for whatever reason."""

    replica: ReplicaName


class Idle(Happening, frozen=True):
    """The replica has had nothing to do since `since`; heard for `awaiting_end` ones only."""

    replica: ReplicaName
    since: float


class StopRequested(Happening, frozen=True):
    """Somebody wants the chain to end; the second time: now."""

    by: str


class FolderRemoved(Happening, frozen=True):
    """The run directory is gone: nobody can see or stop the chain, nor join it."""

    path: str


class Judged(Happening, frozen=True):
    """How the living process is doing has changed.

    `for_s`: it has been doing so for so long; `place`: where it hangs, if it does.
    """

    replica: ReplicaName
    condition: Condition
    for_s: float
    place: str = ""


class Corrected(Happening, frozen=True):
    """A file of a replica that is FAILED for its configuration has changed."""

    replica: ReplicaName
    file: str


class Tick(Happening, frozen=True):
    """Time has passed."""


ReplicaEvent = (
    ProcessStarted | StartFailed | ProcessEnded | Ready | Stopping | Idle | Judged | Corrected
)
Event = ReplicaEvent | StopRequested | FolderRemoved | Tick


# Actions.


class Spawn(Happening, frozen=True):
    """Start a process for the replica, and report ProcessStarted or StartFailed."""

    replica: ReplicaName


class Signal(Happening, frozen=True):
    """Send the signal to the replica's process."""

    replica: ReplicaName
    number: int


class Finish(Happening, frozen=True):
    """The chain is over; `exit_code`, and `reasons` if that is not 0, by its processes alone."""

    exit_code: int
    reasons: tuple[str, ...] = ()


# Actions that tell people what happened.


class BecameReady(Happening, frozen=True):
    """A replica is READY, `took_s` after its process was asked for."""

    replica: ReplicaName
    took_s: float


class ChainBecameReady(Happening, frozen=True):
    """Every replica is READY for the first time."""

    took_s: float


class Finished(Happening, frozen=True):
    """A replica has done all its work, or was stopped in order."""

    replica: ReplicaName
    after_s: float


class WillRestart(Happening, frozen=True):
    """A replica ended unexpectedly and comes back in `delay_s` (0: at once)."""

    replica: ReplicaName
    ending: Ending
    delay_s: float
    attempt: int
    limit: int


class WillRetry(Happening, frozen=True):
    """A replica waits for something outside, which it named last; next try in `delay_s`."""

    replica: ReplicaName
    ending: Ending
    delay_s: float


class GaveUp(Happening, frozen=True):
    """A replica is FAILED; it is tried again in `retry_s`, or not by itself (None).

    `until_changed`: it is tried again when one of its files has changed.
    """

    replica: ReplicaName
    ending: Ending
    retry_s: float | None
    until_changed: bool = False


class TriesAgain(Happening, frozen=True):
    """A replica that was FAILED for its configuration starts again: `file` has changed."""

    replica: ReplicaName
    file: str


class EndedBadly(Happening, frozen=True):
    """A replica ended with an error while the chain was being stopped."""

    replica: ReplicaName
    ending: Ending


class Draining(Happening, frozen=True):
    """The chain stops: sources first, at most `timeout_s`."""

    by: str
    timeout_s: float


class CutShort(Happening, frozen=True):
    """The chain stops now, with `left` still running."""

    left: tuple[ReplicaName, ...]
    by: str


class Killed(Happening, frozen=True):
    """A replica did not end in time and is killed."""

    replica: ReplicaName
    cause: str


class BecameUnwell(Happening, frozen=True):
    """A living replica stands still, and that is not its own doing."""

    replica: ReplicaName
    condition: Condition


class BecameWell(Happening, frozen=True):
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
