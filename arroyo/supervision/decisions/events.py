"""Events and actions of the supervisor's state machine. PURE.

Events come from the loop (processes, readiness, signals, timers), each with the monotonic time of
its arrival. Actions go back to the loop, which carries them out in order.
"""

from __future__ import annotations

from enum import StrEnum

from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName

from .ending import Ending, Evidence
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


# Events.


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

    `for_s`: how long it has been in it; `place`: where it hangs, if it does; `memory_bytes`: how
    much it had, if it is too large.
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


Order = (
    StopRequested
    | RestartRequested
    | StageStopRequested
    | StageStartRequested
    | ScaleRequested
    | ReloadRequested
)
Event = ReplicaEvent | Order | FolderRemoved | Tick


# Actions.


class Spawn(OfReplica, frozen=True):
    """Start a process for the replica, and report ProcessStarted or StartFailed."""


class Signal(OfReplica, frozen=True):
    """Send the signal to the replica's process."""

    number: int


class UseVersion(Happening, frozen=True):
    """Start and watch processes by this version of the chain file from now on."""

    chain: Chain


class Finish(Happening, frozen=True):
    """The chain has ended; `exit_code` and its `reasons` are those of its processes alone."""

    exit_code: int
    reasons: tuple[str, ...] = ()


# Announcements: actions that only tell people.


class BecameReady(OfReplica, frozen=True):
    """A replica is READY, `took_s` after its process was asked for."""

    took_s: float


class ChainBecameReady(Happening, frozen=True):
    """Every replica is READY for the first time."""

    took_s: float


class Finished(OfReplica, frozen=True):
    """A replica has done all its work, or was stopped in order."""

    after_s: float


class WillRestart(OfReplica, frozen=True):
    """A replica ended unexpectedly and is restarted in `delay_s` (0: at once)."""

    ending: Ending
    delay_s: float
    attempt: int
    limit: int


class WillRetry(OfReplica, frozen=True):
    """A replica waits for something outside, which its ending names; next try in `delay_s`."""

    ending: Ending
    delay_s: float


class GaveUp(OfReplica, frozen=True):
    """A replica is FAILED; it is tried again in `retry_s`, or not by itself (None).

    `until_changed`: it is tried again when one of its files has changed.
    """

    ending: Ending
    retry_s: float | None
    until_changed: bool = False


class TriesAgain(OfReplica, frozen=True):
    """A replica that was FAILED for its configuration starts again: `file` has changed."""

    file: str


class RestartsOnRequest(OfReplica, frozen=True):
    """A replica is restarted because somebody asked for it."""

    by: str


class RestartsGivenUp(OfReplica, frozen=True):
    """A replica failed after a restart on request; `left` are not restarted, but work on."""

    left: tuple[ReplicaName, ...]


class StopsOnRequest(OfReplica, frozen=True):
    """A replica is told to end, and to stay STOPPED, because somebody asked for it."""

    by: str


class StoppedOnRequest(OfReplica, frozen=True):
    """A replica that somebody has stopped has no process any more."""


class StartsOnRequest(OfReplica, frozen=True):
    """A replica is started because somebody asked for it."""

    by: str


class ReloadOrdered(Happening, frozen=True):
    """Somebody has the chain go on with another version of its file, in which `keys` differ."""

    by: str
    keys: tuple[str, ...]


class Reloaded(Happening, frozen=True):
    """The whole chain runs with the new version of its file."""

    took_s: float


class RolledBack(Happening, frozen=True):
    """The chain runs with the old version of its file again, because of `why`."""

    why: str


class EndedBadly(OfReplica, frozen=True):
    """A replica that was told to end has ended with an error."""

    ending: Ending


class Draining(Happening, frozen=True):
    """The chain stops: sources first, at most `timeout_s`; `held` are stopped, and stay so."""

    by: str
    timeout_s: float
    held: tuple[ReplicaName, ...] = ()


class CutShort(Happening, frozen=True):
    """The chain stops now, with `left` still running."""

    left: tuple[ReplicaName, ...]
    by: str


class Killed(OfReplica, frozen=True):
    """A replica did not end in time and is killed."""

    cause: str


class Hung(OfReplica, frozen=True):
    """A replica hangs, as `how` says; it is killed unless it goes on at once."""

    how: str


class BecameUnwell(OfReplica, frozen=True):
    """A living replica stands still for a reason outside its own code."""

    condition: Condition


class BecameWell(OfReplica, frozen=True):
    """A replica that stood still works again."""


Announcement = (
    BecameReady
    | ChainBecameReady
    | Finished
    | WillRestart
    | WillRetry
    | GaveUp
    | TriesAgain
    | RestartsOnRequest
    | RestartsGivenUp
    | StopsOnRequest
    | StoppedOnRequest
    | StartsOnRequest
    | ReloadOrdered
    | Reloaded
    | RolledBack
    | EndedBadly
    | Draining
    | CutShort
    | Killed
    | Hung
    | BecameUnwell
    | BecameWell
)
Action = Spawn | Signal | UseVersion | Finish | Announcement
