"""Actions of the supervisor's state machine: the loop carries them out, in order. PURE."""

from __future__ import annotations

from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName

from .ending import Ending
from .happening import Happening, OfReplica
from .health import Condition


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
