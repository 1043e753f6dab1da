"""Whether a replica that ended unexpectedly comes back, and when. PURE.

More than `max_restarts` unexpected ends within `within_s` are too many; 60 s of READY forgive
everything. A stage that exits with 75 waits for something outside (a disk, a broker, a lock): it
comes back with the same backoff for as long as that takes, and it never counts as a failure.
"""

from __future__ import annotations

from collections.abc import Callable

from arroyo.protocol.values.recent_times import RecentTimes

from .actions import GaveUp, WillRestart, WillRetry
from .backoff import backoff_delay_s
from .ending import PERMANENT_EXITS, TRY_LATER_EXIT, Ending
from .events import State
from .replica import ReplicaState
from .replicas import Replicas

RETRY_FAILED_S = 300.0
STOPPING_RETRY_S = 1.0
"""Longest wait after a 75 while the chain drains: time is short, and what is queued needs the
stage."""


class RestartPolicy:
    """Decides what follows an unexpected end.

    `random`: gives numbers in [0, 1) for the jitter.
    """

    def __init__(self, replicas: Replicas, random: Callable[[], float]) -> None:
        self._replicas = replicas
        self._random = random
        self._recent = RecentTimes(replicas.limits.within_s)

    def plan(
        self, replica: ReplicaState, ending: Ending, now: float
    ) -> WillRestart | WillRetry | GaveUp:
        """Set when the replica is due again; return the announcement of that."""
        replica.ending = ending
        once = replica.stage.restart == "never"
        if ending.status == TRY_LATER_EXIT and not once:
            return self._retry(replica, ending, now)
        replica.failures += 1
        limits = self._replicas.limits
        self._recent.within_s = limits.within_s
        recent, of_chain = replica.recent.note(now), self._recent.note(now)
        if ending.status in PERMANENT_EXITS or once:
            return self._give_up(replica, ending, None, now)
        too_many = recent > limits.max_restarts or of_chain > limits.chain_max_restarts
        if too_many or replica.on_trial:
            return self._give_up(replica, ending, RETRY_FAILED_S, now)
        delay_s = self._delay_s(replica, replica.failures)
        if ending.status is None:
            # What keeps a process from being started does not go away at once.
            delay_s = max(delay_s, replica.stage.backoff_s)
        replica.state, replica.due_at = State.BACKOFF, now + delay_s
        return WillRestart(replica.name, ending, delay_s, recent, limits.max_restarts)

    def _retry(self, replica: ReplicaState, ending: Ending, now: float) -> WillRetry:
        replica.waits += 1
        delay_s = self._delay_s(replica, replica.waits)
        if self._replicas.stopping:
            delay_s = min(delay_s, STOPPING_RETRY_S)
        replica.state, replica.due_at = State.BACKOFF, now + delay_s
        return WillRetry(replica.name, ending, delay_s)

    def _give_up(
        self, replica: ReplicaState, ending: Ending, retry_s: float | None, now: float
    ) -> GaveUp:
        replica.state = State.FAILED
        replica.due_at = None if retry_s is None else now + retry_s
        replica.on_trial = True
        over = self._replicas.stopping or self.makes_useless(ending)
        until_changed = replica.awaits_correction and not over
        return GaveUp(replica.name, ending, retry_s, until_changed=until_changed)

    def makes_useless(self, ending: Ending) -> bool:
        """Return True if a replica that gives up after this makes the rest of the chain useless.

        A stage that can't be what its configuration says does. Once the chain has worked, the
        configuration was right, and the rest may still do good.
        """
        return ending.status in PERMANENT_EXITS and not self._replicas.was_ready

    def _delay_s(self, replica: ReplicaState, number: int) -> float:
        return backoff_delay_s(number, replica.stage.backoff_s, self._random())
