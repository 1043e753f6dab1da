"""Orders that people give for single stages: restart, stop, start, scale. PURE.

An order changes what is wanted of a replica, and the last one wins. What has to end for it is told
to drain, so nothing is lost, and its end is no failure. A replica that has finished, or is about
to, is left alone. A stop of the chain ends all of this, but for one thing: what was stopped may be
started, so that what waits for it is finished before the chain ends.

Restarts come one after the other: the next replica follows when the last one is READY, so that the
rest goes on. A stop is for all replicas at once; each stays STOPPED until it is to be started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from . import actions as act
from .events import State
from .replica import ReplicaState
from .replicas import Replicas


class Orders:
    """Tells replicas to end, and has them start again."""

    def __init__(
        self,
        replicas: Replicas,
        terminate: Callable[[ReplicaState], None],
        emit: Callable[[act.Action], None],
    ) -> None:
        self._replicas = replicas
        self._terminate = terminate
        self._emit = emit
        self._waiting: dict[ReplicaState, str] = {}
        """Replicas to restart whose turn is still to come, in order, and who asked for it."""
        self._current: ReplicaState | None = None
        """The last one that was told to end for its restart, until it works again."""

    def restart(self, target: str, by: str, now: float) -> None:
        """Restart the replicas that `Replicas.named` finds for `target`, unless they are held."""
        for replica in self._open_to_orders(target):
            if replica.is_restarting or replica.held_by:
                continue
            if replica.alive:
                self._waiting.setdefault(replica, by)
            elif replica.state in {State.BACKOFF, State.FAILED}:
                self._emit(act.RestartsOnRequest(replica.name, by))
                replica.retry(now)

    def stop(self, target: str, by: str, now: float) -> None:
        """Hold the replicas STOPPED until they are started by an order."""
        for replica in self._open_to_orders(target):
            if not (replica.held_by or replica.is_at_rest):
                self._hold(replica, by, now)

    def start(self, target: str, by: str, now: float) -> None:
        """Start replicas that are held, FAILED or in BACKOFF; spare ones only by their names."""
        stopping = self._replicas.stopping
        for replica in self._replicas.named(target):
            if replica.may_be_started(target, stopping=stopping):
                self._release(replica, by, now)

    def scale(self, stage: str, number: int, by: str, now: float) -> None:
        """Have the first `number` replicas of a stage work; the others are spare."""
        for replica in self._open_to_orders(stage):
            if replica.name.replica < number:
                if replica.may_be_started(str(replica.name), stopping=False):
                    self._release(replica, by, now)
                continue
            replica.is_spare = True
            if not (replica.held_by or replica.is_at_rest):
                self._hold(replica, by, now)

    def _hold(self, replica: ReplicaState, by: str, now: float) -> None:
        self._waiting.pop(replica, None)
        replica.held_by = by
        self._emit(act.StopsOnRequest(replica.name, by))
        if not replica.alive:
            replica.rest()
            replica.ending = None
            self._emit(act.StoppedOnRequest(replica.name))
        elif replica.state is not State.DRAINING:
            self._tell_to_end(replica, now)
        if replica.is_listener:
            replica.term_at = None  # it may take its time: what it has sent is in flight

    def _release(self, replica: ReplicaState, by: str, now: float) -> None:
        replica.held_by, replica.is_spare = "", False
        self._emit(act.StartsOnRequest(replica.name, by))
        if not replica.alive:
            replica.retry(now)

    @property
    def restarting(self) -> list[str]:
        """Replicas whose restart is still to come, or under way."""
        current = [] if self._current is None else [self._current]
        return [str(replica.name) for replica in (*current, *self._waiting)]

    def dismiss(self, replicas: Iterable[ReplicaState]) -> None:
        """Restart none of these whose turn is still to come."""
        for replica in replicas:
            self._waiting.pop(replica, None)

    def pass_over(self, replica: ReplicaState) -> None:
        """Let the next restarts not wait for this one."""
        if self._current is replica:
            self._current = None

    def proceed(self, now: float) -> None:
        """Tell the next replica to end for its restart, if the last one works again."""
        if self._replicas.stopping:
            self._waiting.clear()
            self._current = None
        while not self._is_busy() and self._waiting:
            replica = next(iter(self._waiting))
            by = self._waiting.pop(replica)
            if replica.alive and not replica.overdue and replica.state is not State.DRAINING:
                self._current = replica
                self._emit(act.RestartsOnRequest(replica.name, by))
                self._tell_to_end(replica, now)

    def _open_to_orders(self, target: str) -> list[ReplicaState]:
        return [] if self._replicas.stopping else self._replicas.named(target)

    def _tell_to_end(self, replica: ReplicaState, now: float) -> None:
        replica.told_to_end, replica.term_at = True, now
        self._terminate(replica)

    def _is_busy(self) -> bool:
        """Whether the last replica is not back yet; one that failed keeps the next ones as is."""
        replica = self._current
        if replica is None:
            return False
        if replica.state is State.FAILED and self._waiting:
            left = tuple(each.name for each in self._waiting)
            self._emit(act.RestartsGivenUp(replica.name, left))
            self._waiting.clear()
        if replica.state in {State.READY, State.STOPPED, State.FAILED}:
            self._current = None
        return self._current is not None
