"""One replica as the supervisor sees it, and which replicas of a chain are over. PURE."""

from __future__ import annotations

from collections.abc import Iterable

from arroyo.config.graph import Chain, Stage
from arroyo.identifiers import ReplicaName

from .events import State
from .restart_policy import RecentEnds


class Replica:
    """What is known of one replica. Only the state machine changes it."""

    def __init__(self, name: ReplicaName, stage: Stage, within_s: float) -> None:
        self.name = name
        self.stage = stage
        self.state = State.STOPPED
        self.alive = False
        """A process was asked for and has not ended."""
        self.pid: int | None = None
        self.due_at: float | None = 0.0
        """When a process is to be started; None: not by itself."""
        self.spawned_at = 0.0
        self.ready_at: float | None = None
        """When this process became READY."""
        self.term_at: float | None = None
        """When this process alone was told to end, the chain still running."""
        self.overdue = False
        """Killed because it did not become READY, or did not end, in time."""
        self.restarts = 0
        self.failures = 0
        """Unexpected ends since it was last stable."""
        self.on_trial = False
        """Started again after FAILED: one failure puts it back there."""
        self.recent = RecentEnds(within_s)

    @property
    def is_listener(self) -> bool:
        """Whether it is a source."""
        return self.stage.role == "listener"

    @property
    def is_importing(self) -> bool:
        """Whether its process runs and has not been READY yet."""
        return self.alive and self.ready_at is None

    def spawn(self, now: float) -> None:
        """A process is asked for."""
        self.state, self.alive, self.due_at = State.STARTING, True, None
        self.spawned_at, self.ready_at, self.term_at, self.overdue = now, None, None, False

    def end(self) -> None:
        """Its process is gone."""
        self.alive, self.pid, self.term_at = False, None, None

    def rest(self) -> None:
        """Stay without a process."""
        self.state, self.due_at = State.STOPPED, None


def stages_over(chain: Chain, replicas: Iterable[Replica], stopping: bool) -> dict[str, bool]:
    """Tell for each stage whether all its replicas have ended for good.

    A replica is over when it rests STOPPED. One that is FAILED is over, too, when nothing above it
    can send any more; a FAILED listener only when the chain is being stopped, since what it reads
    from goes on.
    """
    by_stage: dict[str, list[Replica]] = {}
    for replica in replicas:
        by_stage.setdefault(replica.name.stage, []).append(replica)
    over: dict[str, bool] = {}
    for level in chain.levels:
        for stage in level:
            failed_is_over = stopping or (
                stage.role != "listener" and all(over[source.stage] for source in stage.inputs)
            )
            over[stage.name] = all(
                _is_over(replica, failed_is_over) for replica in by_stage[stage.name]
            )
    return over


def _is_over(replica: Replica, failed_is_over: bool) -> bool:
    if replica.alive:
        return False
    if replica.state is State.FAILED:
        return failed_is_over
    return replica.state is State.STOPPED and replica.due_at is None
