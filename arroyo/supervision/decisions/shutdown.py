"""How a chain is stopped: drained, cut short at the deadline, killed, abandoned. PURE.

Listeners are told to end first. What is below them ends when nothing above it can send any more,
programs when everything else has ended.
Each step has a deadline, so a stop always ends.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from . import actions as act
from .ending import name_replicas
from .events import State
from .replica import ReplicaState, is_due
from .replicas import Replicas

KILL_AFTER_S = 2.0
"""From the last SIGTERM to SIGKILL."""
ABANDON_AFTER_S = 5.0
"""From SIGKILL until a process that can't die (waiting for a dead file server) is left behind."""
TOO_SLOW = "it did not end in time"


class Shutdown:
    """Tells processes to end, and ends those that don't.

    `note_trouble`: takes a sentence on why the chain has not ended well.
    """

    def __init__(
        self,
        replicas: Replicas,
        emit: Callable[[act.Action], None],
        note_trouble: Callable[[str], None],
    ) -> None:
        self._replicas = replicas
        self._emit = emit
        self._note_trouble = note_trouble
        # Each is None until the step before has come.
        self._drain_until: float | None = None
        self._kill_at: float | None = None
        self._abandon_at: float | None = None

    @property
    def is_cut_short(self) -> bool:
        """Whether everything was told to end now."""
        return self._kill_at is not None

    @property
    def has_killed(self) -> bool:
        """Whether everything that was left has been killed."""
        return self._abandon_at is not None

    @property
    def next_at(self) -> float | None:
        """When the next step is due."""
        return self._abandon_at or self._kill_at or self._drain_until

    def has_abandoned(self, now: float) -> bool:
        """Return True if even killed processes have had their time to end."""
        return is_due(self._abandon_at, now)

    def request(self, by: str, now: float) -> None:
        """Begin to stop; the second time, stop now."""
        if not self._replicas.stopping:
            self.begin(by, now)
        elif not self.is_cut_short:
            self._cut_short(by, now)

    def begin(self, by: str, now: float) -> None:
        """Let the chain drain, if it does not already."""
        if self._replicas.stopping:
            return
        self._replicas.stopping = True
        timeout_s = self._replicas.limits.stop_timeout_s
        self._drain_until = now + timeout_s
        held = tuple(
            each.name
            for each in self._replicas
            if each.held_by and not (each.is_listener or each.is_spare)
        )
        self._emit(act.Draining(by, timeout_s, held))
        for replica in self._replicas:
            if replica.told_to_end:
                continue  # it drains; a second signal would stop it now
            if replica.is_program and replica.alive:
                continue  # the others need it until they have ended
            # Before a source was READY nothing is in flight that would need the others.
            if replica.is_listener or not self._replicas.flowing:
                self._dismiss(replica)
            elif replica.state is State.BACKOFF:
                replica.due_at = now  # what is in flight needs it

    def keep_deadlines(self, now: float) -> None:
        """Take the steps that are due."""
        if not self.is_cut_short and is_due(self._drain_until, now):
            self._cut_short(f"the stop timeout of {self._replicas.limits.stop_timeout_s:g} s", now)
        if not self.has_killed and is_due(self._kill_at, now):
            self._abandon_at = now + ABANDON_AFTER_S
            for replica in self._replicas.living:
                self.kill(replica, TOO_SLOW)

    def dismiss_cut_off(self) -> None:
        """End the replicas that nothing above can send to any more."""
        for replica in self._replicas.cut_off():
            if replica.state is not State.DRAINING and not replica.is_at_rest:
                self._dismiss(replica)

    def dismiss_programs(self, now: float) -> None:
        """End the programs once everything else has ended for good."""
        for replica in self._replicas.cut_off():
            ends = replica.is_at_rest or replica.state is State.DRAINING
            if replica.is_program and not ends:
                replica.term_at = now if replica.alive else None
                self._dismiss(replica)

    def terminate(self, replica: ReplicaState) -> None:
        """Tell a replica to drain and end."""
        replica.state = State.DRAINING
        self._emit(act.Signal(replica.name, signal.SIGTERM))

    def kill(self, replica: ReplicaState, cause: str) -> None:
        """End a replica's process at once."""
        self._emit(act.Killed(replica.name, cause))
        self._emit(act.Signal(replica.name, signal.SIGKILL))

    def _cut_short(self, by: str, now: float) -> None:
        self._kill_at = now + KILL_AFTER_S
        if left := tuple(replica.name for replica in self._replicas.living):
            self._note_trouble(f"it was stopped before {name_replicas(left)} had finished")
            self._emit(act.CutShort(left, by))
        for replica in self._replicas:
            self._dismiss(replica)

    def _dismiss(self, replica: ReplicaState) -> None:
        if replica.alive:
            self.terminate(replica)
        elif replica.state is not State.FAILED:
            replica.rest()
