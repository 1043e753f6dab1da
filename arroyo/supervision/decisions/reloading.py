"""One reload at a time: the new version is taken, stages are restarted, or all is taken back. PURE.

From the order on every process starts with the new version, also one that died by itself; what
has started with it already is not restarted again. A stage whose process can't start with the new
values has all of them taken back: those that have the new version are restarted with the old one.
A process that somebody kills before it was READY is tried again, as ever.

A stop of the chain ends a reload; the version stays as it is then.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from arroyo.config.graph import Chain

from . import actions as act
from . import events as ev
from .ending import Ending, describe_end
from .events import State
from .orders import Orders
from .replica import ReplicaState, is_due
from .replicas import Replicas

_FROM_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM})


class Reloading:
    """Takes a running chain from one version of its chain file to another, or back."""

    def __init__(
        self, replicas: Replicas, orders: Orders, emit: Callable[[act.Action], None]
    ) -> None:
        self._replicas = replicas
        self._orders = orders
        self._emit = emit
        self._order: ev.ReloadRequested | None = None
        """What is being carried out, or taken back."""
        self._former: Chain | None = None
        """The version before; None: nothing is to be taken back, or it is being taken back."""
        self._affected: list[ReplicaState] = []
        self._by = ""
        """In whose name they are restarted."""
        self._began_at = 0.0
        self.outcome = ""
        """How the last one has ended: ``reloaded``, ``rolled-back``, ``stopped``."""
        self.reason = ""
        """Why it was taken back."""

    @property
    def is_under_way(self) -> bool:
        """Whether a reload is being carried out, or taken back."""
        return self._order is not None

    @property
    def is_rolling_back(self) -> bool:
        """Whether it is being taken back."""
        return self.is_under_way and self._former is None

    def begin(self, order: ev.ReloadRequested, now: float) -> None:
        """Take another version, and have the stages restarted that need it."""
        if self._replicas.stopping or self.is_under_way:
            return
        self._order, self._former, self._began_at = order, self._replicas.chain, now
        self.outcome = self.reason = ""
        self._emit(act.ReloadOrdered(order.by, order.keys))
        self._use(order.chain)
        self._affected = [
            replica for stage in order.restarts for replica in self._replicas.named(stage)
        ]
        self._restart(order.by, now)

    def is_refuted_by(self, replica: ReplicaState, ending: Ending) -> bool:
        """Return True if this end of a process, not noted yet, shows that the version is no good.

        One that was told to end, or was killed from outside, says nothing against it.
        """
        evidence = ending.evidence
        killed = ending.status in _FROM_OUTSIDE and not (ending.cause or evidence.out_of_memory)
        told = replica.told_to_end or replica.term_at is not None
        return self._is_on_trial(replica) and replica.ready_at is None and not (killed or told)

    def take_back(self, replica: ReplicaState, ending: Ending | None, now: float) -> None:
        """Go back to the former version, because of how a process of `replica` has ended."""
        order, former = self._order, self._former
        assert order is not None
        assert former is not None
        how = describe_end(ending, f"{ending.after_s:.2f} s") if ending else "has failed"
        self.reason = f"{replica.name} {how}"
        self._former = None
        self._orders.pass_over(replica)
        self._orders.dismiss(self._affected)
        self._affected = [each for each in self._affected if self._is_new(each)]
        self._use(former)
        self._restart(f"the roll-back of {order.by}", now)

    def proceed(self, now: float) -> None:
        """See how far it has come."""
        if not self.is_under_way:
            return
        if self._replicas.stopping:
            self._end("stopped")
            return
        for replica in self._affected:
            if self._is_on_trial(replica) and replica.state is State.FAILED:
                self.take_back(replica, replica.ending, now)
        for replica in self._affected:
            if self._is_new(replica):
                self._orders.dismiss([replica])
            elif replica.alive:  # also where another restart that failed has ended all of them
                self._orders.restart(str(replica.name), self._by, now)
        if not any(self._is_awaited(replica, now) for replica in self._affected):
            self._finish(now)

    def _finish(self, now: float) -> None:
        if self.is_rolling_back:
            self._emit(act.RolledBack(self.reason))
            self._end("rolled-back")
        else:
            self._emit(act.Reloaded(now - self._began_at))
            self._end("reloaded")

    def _end(self, outcome: str) -> None:
        self._order, self._former, self._affected = None, None, []
        self.outcome = outcome

    def _restart(self, by: str, now: float) -> None:
        self._by = by
        for replica in self._affected:
            self._orders.restart(str(replica.name), by, now)

    def _use(self, chain: Chain) -> None:
        self._replicas.use(chain)
        self._emit(act.UseVersion(chain))

    def _is_on_trial(self, replica: ReplicaState) -> bool:
        """Whether it shows if the new version, which is not taken back yet, is any good."""
        return self._former is not None and replica in self._affected and self._is_new(replica)

    def _is_new(self, replica: ReplicaState) -> bool:
        """Whether its last process was started with the present version."""
        return replica.version == self._replicas.version

    def _is_awaited(self, replica: ReplicaState, now: float) -> bool:
        """Whether it has to do with the present version what it is to do."""
        if replica.held_by or replica.is_at_rest:
            return False  # it has the present version when it is started
        if not self.is_rolling_back:
            return not self._is_new(replica) or replica.ready_at is None
        # The former version worked: whatever keeps a process from it now is no matter of it.
        if replica.alive:
            return not self._is_new(replica) or replica.ready_at is None
        return is_due(replica.due_at, now)
