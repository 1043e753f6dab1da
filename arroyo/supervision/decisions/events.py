"""Events of the supervisor's state machine: what the loop tells it. PURE.

Each comes with the monotonic time of its arrival. What the machine answers is in `actions`.
"""

from __future__ import annotations

from enum import StrEnum

from arroyo.config.graph import Chain

from .ending import Evidence
from .happening import Happening, OfReplica
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


class ProcessStarted(OfReplica, frozen=True):
    """The process that `Spawn` asked for runs."""

    pid: int


class StartFailed(OfReplica, frozen=True):
    """The process that `Spawn` asked for could not be started: no memory, for instance."""

    reason: str


class ProcessEnded(OfReplica, frozen=True):
    """The process has ended; `status` is its exit code, or minus the signal that killed it."""

    status: int
    evidence: Evidence = Evidence()


class Ready(OfReplica, frozen=True):
    """The replica said READY=1."""


class Stopping(OfReplica, frozen=True):
    """The replica said STOPPING=1: it drains."""


class ParametersTaken(OfReplica, frozen=True):
    """The replica has taken the parameters of order `number`, or says why it refuses."""

    number: int
    refusal: str


class Idle(OfReplica, frozen=True):
    """The replica has been idle since `since`; reported for replicas in `awaiting_end` only."""

    since: float


class StopRequested(Happening, frozen=True):
    """A request to stop the chain; the second one stops it now."""

    by: str


class RestartRequested(Happening, frozen=True):
    """A request to restart a stage, a replica ``STAGE.R``, or (``""``) all of them."""

    target: str
    by: str


class StageStopRequested(Happening, frozen=True):
    """A request to stop a stage, a replica, or all of them, until they are to be started again."""

    target: str
    by: str


class StageStartRequested(Happening, frozen=True):
    """A request to start them again; what is FAILED or waits for its restart is tried at once."""

    target: str
    by: str


class FolderRemoved(Happening, frozen=True):
    """The run directory was removed: no command and no stage can find the chain any more."""

    path: str


class ConditionChanged(OfReplica, frozen=True):
    """The condition of a living process has changed.

    `for_s`: how long it has been in it; `place`: where it hangs, or what holds it up;
    `memory_bytes`: how much it had, if it is too large.
    """

    condition: Condition
    for_s: float
    place: str = ""
    memory_bytes: int = 0


class Corrected(OfReplica, frozen=True):
    """A file of a replica that is FAILED for its configuration has changed."""

    file: str


class Tick(Happening, frozen=True):
    """Time has passed."""


class ScaleRequested(Happening, frozen=True):
    """A request to have `number` replicas of a stage work."""

    stage: str
    number: int
    by: str


class ReloadRequested(Happening, frozen=True):
    """A request to go on with another version of the chain file, which was checked and planned.

    `keys`: what differs; `restarts`: stages that have to be restarted for it.
    """

    chain: Chain
    keys: tuple[str, ...]
    restarts: tuple[str, ...]
    by: str


ReplicaEvent = (
    ProcessStarted
    | StartFailed
    | ProcessEnded
    | Ready
    | Stopping
    | Idle
    | ConditionChanged
    | Corrected
)
Order = (
    StopRequested
    | RestartRequested
    | StageStopRequested
    | StageStartRequested
    | ScaleRequested
    | ReloadRequested
)
Event = ReplicaEvent | Order | FolderRemoved | Tick
