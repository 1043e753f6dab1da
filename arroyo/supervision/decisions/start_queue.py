"""The replicas that wait for a process: sinks before sources, and few at once. PURE.

Programs come first, all at once. What starts for the first time waits until they are up; what has
run before and died does not.
"""

from __future__ import annotations

from collections.abc import Callable

from .actions import Action, Spawn
from .events import State
from .replica import ReplicaState, is_due
from .replicas import Replicas


class StartQueue:
    """Starts replicas that are due, while no more than `importing_limit` are importing.

    `importing_limit`: processes that may be importing at once: more of them only slow each other
    down.
    """

    def __init__(
        self, replicas: Replicas, importing_limit: int, emit: Callable[[Action], None]
    ) -> None:
        self._replicas = replicas
        self._importing_limit = importing_limit
        self._emit = emit

    @property
    def next_at(self) -> float | None:
        """When the next replica is due; None: none, or there is no room for another."""
        room, programs_are_up = self._room, self._replicas.programs_are_up
        times = [
            replica.due_at
            for replica in self._replicas
            if self._may_start(replica, room, programs_are_up)
        ]
        return min((time for time in times if time is not None), default=None)

    def start_due(self, now: float) -> None:
        """Ask for a process of each replica that is due, as far as there is room."""
        room, programs_are_up = self._room, self._replicas.programs_are_up
        for replica in self._replicas.sinks_first:
            if self._may_start(replica, room, programs_are_up) and is_due(replica.due_at, now):
                has_failed = replica.ending is not None
                replica.restarts += has_failed and replica.state is not State.STOPPED
                replica.spawn(now, self._replicas.version)
                self._emit(Spawn(replica.name))
                self._revive_below(replica, now)
                room -= replica.is_importing

    @property
    def _room(self) -> int:
        return max(0, self._importing_limit - self._replicas.importing)

    def _may_start(self, replica: ReplicaState, room: int, programs_are_up: bool) -> bool:
        if replica.alive or (self._replicas.stopping and replica.state is State.FAILED):
            return False
        is_first = replica.state is State.STOPPED
        return replica.is_program or (room > 0 and (programs_are_up or not is_first))

    def _revive_below(self, replica: ReplicaState, now: float) -> None:
        """Bring back replicas that had finished because the one that starts again had ended."""
        for below in self._replicas.below(replica):
            if below.is_at_rest and not below.held_by:
                below.due_at = now
