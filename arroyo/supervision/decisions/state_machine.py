"""The supervisor's decisions: events and the time go in, actions come out. PURE.

Rules that always hold:

- a replica has one process at most, and none is started once the chain is finished;
- no more processes import at once than the machine has processors, sinks before sources;
- what starts for the first time waits until the chain's programs are READY, or are down for long;
- a program runs until all other stages have ended for good;
- a stop always ends: drained in order, else at its deadline, else killed, else abandoned;
- what was told to stop never counts as a failure.

An event changes what is wanted; `_reconcile`, called after each, asks for what is missing.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.history import History

from . import actions as act
from . import events as ev
from .actions import Action
from .ending import Ending, Evidence, name_replicas
from .events import State
from .happening import OfReplica
from .health_response import respond
from .orders import Orders
from .process_ends import ProcessEnds
from .reloading import Reloading
from .replica import ReplicaState, is_due
from .replicas import Replicas
from .restart_policy import RestartPolicy
from .shutdown import TOO_SLOW, Shutdown
from .start_queue import StartQueue
from .totals import UNWELL, ExitStatus

END_GRACE_S = 2.0
"""A stage that nothing above can send to, and that was idle for this long, is told to end."""
_NOTHING = Evidence()


class ChainMachine:
    """State of a chain and its replicas.

    `now`: time of the start, in s (monotonic), as in every event.
    """

    def __init__(
        self, chain: Chain, importing_limit: int, random: Callable[[], float], now: float
    ) -> None:
        self._began_at = now
        self._actions: list[Action] = []
        self._trouble = ExitStatus(0)
        self.replicas = Replicas(chain)
        restarts = RestartPolicy(self.replicas, random)
        self._starts = StartQueue(self.replicas, importing_limit, self._emit)
        self._shutdown = Shutdown(self.replicas, self._emit, self._note_trouble)
        self._orders = Orders(self.replicas, self._shutdown.terminate, self._emit)
        self.reloading = Reloading(self.replicas, self._orders, self._emit)
        self._ends = ProcessEnds(
            self.replicas,
            restarts,
            self._shutdown,
            emit=self._emit,
            note_trouble=self._note_trouble,
        )
        self.finished = False
        self.history = History(now)
        """Its last events and actions; events that only say that time has passed are left out."""

    # Questions.

    @property
    def restarting(self) -> list[str]:
        """Replicas whose restart by an order is still to come, or under way."""
        return self._orders.restarting

    @property
    def awaiting_end(self) -> list[ReplicaName]:
        """READY replicas with nothing above them any more; `Idle` events are wanted for these."""
        cut_off = (replica for replica in self.replicas.cut_off() if not replica.is_program)
        return [replica.name for replica in cut_off if replica.state is State.READY]

    @property
    def awaiting_correction(self) -> list[ReplicaName]:
        """Replicas that are FAILED for their configuration; `Corrected` is wanted for these."""
        if self.replicas.stopping:
            return []
        return [replica.name for replica in self.replicas if replica.awaits_correction]

    @property
    def next_at(self) -> float | None:
        """Time at which a `Tick` is needed at the latest; None: not before another event."""
        if self.finished:
            return None
        times = [self._shutdown.next_at, self._starts.next_at]
        for replica in self.replicas.living:
            times += [replica.kill_at, self._overdue_at(replica)]
        return min((time for time in times if time is not None), default=None)

    def handle(self, event: ev.Event, now: float) -> list[Action]:
        """Take one event; return what to do, in order."""
        self._actions = []
        if not self.finished:
            self.history.now = now
            if not isinstance(event, ev.Tick | ev.Idle):
                self.history.note("{}", event)
            self._take(event, now)
            self._reconcile(now)
        for action in self._actions:
            self.history.note("  {}", action)
        return self._actions

    # Events.

    def _take(self, event: ev.Event, now: float) -> None:
        match event:
            case ev.StopRequested(by):
                self._shutdown.request(by, now)
            case ev.RestartRequested(target, by):
                self._orders.restart(target, by, now)
            case ev.StageStopRequested(target, by):
                self._orders.stop(target, by, now)
            case ev.StageStartRequested(target, by):
                if not self._shutdown.is_cut_short:
                    self._orders.start(target, by, now)
            case ev.ScaleRequested(stage, number, by):
                self._orders.scale(stage, number, by, now)
            case ev.ReloadRequested():
                self.reloading.begin(event, now)
            case ev.FolderRemoved(path):
                self._on_folder_removed(path, now)
            case OfReplica():
                self._take_of(self.replicas[event.replica], event, now)

    def _take_of(self, replica: ReplicaState, event: ev.ReplicaEvent, now: float) -> None:  # noqa: C901 (a table)
        match event:
            case ev.ProcessStarted(_, pid):
                replica.pid = pid
            case ev.StartFailed(_, reason):
                self._on_ended(replica, None, reason, now)
            case ev.ProcessEnded(_, status, evidence):
                self._on_ended(replica, status, "", now, evidence)
            case ev.Ready():
                self._on_ready(replica, now)
            case ev.Stopping():
                if replica.alive:
                    replica.state, replica.said_stopping = State.DRAINING, True
            case ev.Idle(_, since):
                self._on_idle(replica, since, now)
            case ev.Corrected(_, file):
                self._on_corrected(replica, file, now)
            case ev.ConditionChanged() as change:
                if replica.alive:
                    self._actions += respond(replica, change, now)

    def _on_ready(self, replica: ReplicaState, now: float) -> None:
        if not replica.alive or replica.is_up or replica.overdue:
            return
        replica.ready_at = now
        self.replicas.flowing = self.replicas.flowing or replica.is_listener
        if replica.state is State.STARTING:
            replica.state = State.READY
            self._emit(act.BecameReady(replica.name, now - replica.spawned_at))

    def _on_idle(self, replica: ReplicaState, since: float, now: float) -> None:
        if replica.state is not State.READY or replica.ready_at is None:
            return
        idle_for_s = now - max(since, replica.ready_at)
        if idle_for_s >= END_GRACE_S and self.replicas.is_cut_off(replica):
            replica.term_at = now
            self._shutdown.terminate(replica)

    def _on_ended(
        self,
        replica: ReplicaState,
        status: int | None,
        cause: str,
        now: float,
        evidence: Evidence = _NOTHING,
    ) -> None:
        if not replica.alive:
            return
        if replica.overdue and replica.ready_at is None:
            cause = f"not ready within {replica.stage.start_timeout_s:g} s"
        ending = Ending(now - replica.spawned_at, status, cause, evidence)
        if self.reloading.is_refuted_by(replica, ending):
            self._ends.start_over(replica, ending, now)
            self.reloading.take_back(replica, ending, now)
        else:
            self._ends.take(replica, ending, now)

    def _on_corrected(self, replica: ReplicaState, file: str, now: float) -> None:
        if replica.awaits_correction and not self.replicas.stopping:
            replica.due_at = now
            self._emit(act.TriesAgain(replica.name, file))

    def _on_folder_removed(self, path: str, now: float) -> None:
        """Stop while links hold: a stage that starts again would not find the others."""
        if not self.replicas.stopping:
            self._note_trouble(f"its run directory {path} was removed under it")
            self._shutdown.begin(f"the removal of its run directory {path}", now)

    # Reconciling.

    def _reconcile(self, now: float) -> None:
        self._shutdown.keep_deadlines(now)
        self._kill_overdue(now)
        if self.replicas.stopping:
            self._shutdown.dismiss_cut_off()
        else:
            self._shutdown.dismiss_programs(now)
        self.reloading.proceed(now)
        self._orders.proceed(now)
        if not self._shutdown.is_cut_short:
            self._starts.start_due(now)
        self._note_whether_ready(now)
        if self._shutdown.has_abandoned(now) or self.replicas.is_over:
            self._finish()

    def _kill_overdue(self, now: float) -> None:
        for replica in self.replicas.living:
            if is_due(replica.kill_at, now):
                replica.kill_at = None
                self._emit(act.Signal(replica.name, signal.SIGKILL))
            elif is_due(self._overdue_at(replica), now):
                replica.overdue = True
                cause = TOO_SLOW if replica.term_at else "it did not become ready"
                self._shutdown.kill(replica, cause)

    def _note_whether_ready(self, now: float) -> None:
        if self.replicas.was_ready or self.replicas.stopping:
            return
        up = {State.READY, State.DRAINING, State.STOPPED}
        wanted = [replica for replica in self.replicas if not replica.held_by]
        ready = (replica.ready_at is not None and replica.state in up for replica in wanted)
        if wanted and all(ready):
            self.replicas.was_ready = True
            self._emit(act.ChainBecameReady(now - self._began_at))

    def _finish(self) -> None:
        self.finished = True
        failed = [replica for replica in self.replicas if replica.state is State.FAILED]
        broken = [replica for replica in self.replicas if replica.is_broken]
        for replicas, what in (
            (self.replicas.living, "could not be ended"),
            (failed, "failed"),
            (broken, "had ended badly and did not come back"),
        ):
            if names := [replica.name for replica in replicas]:
                self._note_trouble(f"{name_replicas(names)} {what}")
        self._emit(act.Finish(*self._trouble))

    # Small questions of our own.

    def _overdue_at(self, replica: ReplicaState) -> float | None:
        """When a living replica has had its time to become READY, or to end."""
        if replica.overdue or self._shutdown.has_killed:
            return None
        if replica.term_at is not None:
            return replica.term_at + self.replicas.limits.stop_timeout_s
        if replica.state is State.STARTING:
            return replica.spawned_at + replica.stage.start_timeout_s
        return None

    def _note_trouble(self, reason: str, exit_code: int = UNWELL) -> None:
        """Keep the first trouble, which decides about the exit code and is reported."""
        if not self._trouble.exit_code:
            self._trouble = ExitStatus(exit_code, (reason,))

    def _emit(self, action: Action) -> None:
        self._actions.append(action)
