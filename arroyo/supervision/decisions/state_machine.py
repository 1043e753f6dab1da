"""The supervisor's decisions: events and the time go in, actions come out. PURE.

Rules that hold whatever happens:

- a replica has one process at most, and none is started once the chain is finished;
- no more processes import at once than the machine has processors, sinks before sources;
- a stop always ends: drained in order, else at its deadline, else killed, else abandoned;
- what was told to stop never counts as a failure.

An event only changes what is wanted; `_reconcile`, run after each, makes it so.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.history import History

from . import events as ev
from .ending import Ending, Evidence
from .events import Action, State
from .health_response import take_verdict
from .replica import ReplicaState
from .replicas import Replicas
from .restart_policy import (
    PERMANENT_EXITS,
    RETRY_FAILED_S,
    STABLE_S,
    STOPPING_RETRY_S,
    TRY_LATER_EXIT,
    RecentEnds,
    backoff_delay_s,
)
from .stop_schedule import StopSchedule
from .totals import UNWELL

END_GRACE_S = 2.0
"""A stage with nothing above it that is idle for so long will not be told the end any more."""
NAMED = 5
"""So many replicas are named in a sentence; more of them are counted."""
_NOTHING = Evidence()
_TOO_SLOW = "it did not end in time"


class ChainMachine:
    """State of a chain and its replicas.

    Parameters
    ----------
    chain
        What to run.
    importing_limit
        Processes that may be importing at once.
    random
        Gives numbers in [0, 1) for the jitter of restarts.
    now
        Time of the start, in s (monotonic), as in every event.
    """

    def __init__(
        self, chain: Chain, importing_limit: int, random: Callable[[], float], now: float
    ) -> None:
        self._policy = chain.supervision
        self._importing_limit = importing_limit
        self._random = random
        self._began_at = now
        self._actions: list[Action] = []
        self._recent = RecentEnds(self._policy.within_s)
        self._stop = StopSchedule(self._policy.stop_timeout_s)
        self._was_ready = False
        self._flowing = False
        self._exit_code = 0
        self._reasons: tuple[str, ...] = ()
        self.replicas = Replicas(chain)
        self.finished = False
        self.history = History(now)
        """What it heard and asked for last, but for what only says that time has passed."""

    # What others may ask.

    @property
    def state(self) -> State:
        """State of the chain as a whole."""
        return self.replicas.state(self._was_ready)

    @property
    def awaiting_end(self) -> list[ReplicaName]:
        """READY replicas with nothing above them any more; `Idle` events are wanted for these."""
        return [replica.name for replica in self.replicas.cut_off() if replica.state is State.READY]

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
        times = [self._stop.next_at]
        for replica in self.replicas.living:
            times += [replica.kill_at, self._overdue_at(replica)]
        if self._has_room:
            times += [replica.due_at for replica in self.replicas if self._may_start(replica)]
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
        if isinstance(event, ev.StopRequested):
            self._on_stop(event.by, now)
        elif isinstance(event, ev.FolderRemoved):
            self._on_folder_removed(event.path, now)
        elif not isinstance(event, ev.Tick):
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
            case ev.Judged() as judged:
                if replica.alive:
                    self._actions += take_verdict(replica, judged, now)

    def _on_ready(self, replica: ReplicaState, now: float) -> None:
        if not replica.is_importing or replica.overdue:
            return
        replica.ready_at = now
        self._flowing = self._flowing or replica.is_listener
        if replica.state is State.STARTING:
            replica.state = State.READY
            self._tell(ev.BecameReady(replica.name, now - replica.spawned_at))

    def _on_idle(self, replica: ReplicaState, since: float, now: float) -> None:
        if replica.state is not State.READY or replica.ready_at is None:
            return
        idle_for_s = now - max(since, replica.ready_at)
        if idle_for_s >= END_GRACE_S and self.replicas.is_cut_off(replica):
            replica.term_at = now
            self._terminate(replica)

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
        if replica.ready_at is not None and now - replica.ready_at >= STABLE_S:
            replica.forgive()
        was_draining = replica.state is State.DRAINING
        killed_alone = replica.overdue and replica.term_at is not None
        replica.end()
        may_finish = self.replicas.may_finish(replica)
        if replica.has_finished(ending) and may_finish:
            replica.rest()
            self._tell(ev.Finished(replica.name, ending.after_s))
        elif (
            killed_alone
            or (may_finish and replica.hung_after_work(ending))
            or (self.replicas.stopping and not self._is_wanted(replica))
        ):
            self._rest_stopped(replica, ending, was_draining)
        else:
            self._restart_or_give_up(replica, ending, now)

    def _rest_stopped(self, replica: ReplicaState, ending: Ending, was_draining: bool) -> None:
        replica.rest()
        told = ending.status == -signal.SIGTERM and was_draining
        if replica.has_finished(ending) or told:
            self._tell(ev.Finished(replica.name, ending.after_s))
            return
        self._note_trouble(UNWELL, f"{replica.name} did not end in order")
        if not replica.overdue and not self._stop.has_killed:
            self._tell(ev.EndedBadly(replica.name, ending))

    # After an unexpected end.

    def _restart_or_give_up(self, replica: ReplicaState, ending: Ending, now: float) -> None:
        replica.ending = ending
        if ending.status == TRY_LATER_EXIT and replica.stage.restart != "never":
            self._wait(replica, ending, now)
            return
        replica.failures += 1
        recent, of_chain = replica.recent.note(now), self._recent.note(now)
        too_many = recent > self._policy.max_restarts or of_chain > self._policy.chain_max_restarts
        if ending.status in PERMANENT_EXITS or replica.stage.restart == "never":
            self._give_up(replica, ending, None, now)
        elif too_many or replica.on_trial:
            self._give_up(replica, ending, RETRY_FAILED_S, now)
        else:
            delay_s = backoff_delay_s(replica.failures, replica.stage.backoff_s, self._random())
            if ending.status is None:
                # What hinders a process from being made does not go away at once.
                delay_s = max(delay_s, replica.stage.backoff_s)
            replica.state, replica.due_at = State.BACKOFF, now + delay_s
            limit = self._policy.max_restarts
            self._tell(ev.WillRestart(replica.name, ending, delay_s, recent, limit))

    def _wait(self, replica: ReplicaState, ending: Ending, now: float) -> None:
        replica.waits += 1
        delay_s = backoff_delay_s(replica.waits, replica.stage.backoff_s, self._random())
        if self.replicas.stopping:
            delay_s = min(delay_s, STOPPING_RETRY_S)
        replica.state, replica.due_at = State.BACKOFF, now + delay_s
        self._tell(ev.WillRetry(replica.name, ending, delay_s))

    def _give_up(
        self, replica: ReplicaState, ending: Ending, retry_s: float | None, now: float
    ) -> None:
        replica.state = State.FAILED
        replica.due_at = None if retry_s is None else now + retry_s
        replica.on_trial = True
        # A stage that can't be what its configuration says makes the rest useless; once the chain
        # has worked, the configuration was right, and the rest may still do good.
        useless = ending.status in PERMANENT_EXITS and not self._was_ready
        hopes = replica.awaits_correction and not useless and not self.replicas.stopping
        self._tell(ev.GaveUp(replica.name, ending, retry_s, until_changed=hopes))
        if useless or self._policy.on_failed == "stop-chain":
            why = f"{replica.name} {'can not run as it is configured' if useless else 'failed'}"
            self._note_trouble(ending.status or UNWELL if useless else UNWELL, why)
            if not self.replicas.stopping:
                self._begin_stop(f"{replica.name}, which failed", now)

    def _on_corrected(self, replica: ReplicaState, file: str, now: float) -> None:
        if replica.awaits_correction and not self.replicas.stopping:
            replica.due_at = now
            self._tell(ev.TriesAgain(replica.name, file))

    # Stopping.

    def _on_stop(self, by: str, now: float) -> None:
        if not self.replicas.stopping:
            self._begin_stop(by, now)
        elif not self._stop.is_cut_short:
            self._cut_short(by, now)

    def _on_folder_removed(self, path: str, now: float) -> None:
        """Stop while links hold: a stage that is started again finds the others no more."""
        if not self.replicas.stopping:
            self._note_trouble(UNWELL, f"its run directory {path} was removed under it")
            self._begin_stop(f"the removal of its run directory {path}", now)

    def _begin_stop(self, by: str, now: float) -> None:
        self.replicas.stopping = True
        self._stop.begin(now)
        self._tell(ev.Draining(by, self._stop.timeout_s))
        for replica in self.replicas:
            # Before a source was READY nothing is under way that would need the others.
            if replica.is_listener or not self._flowing:
                self._dismiss(replica)
            elif replica.state is State.BACKOFF:
                replica.due_at = now  # what is under way needs it

    def _cut_short(self, by: str, now: float) -> None:
        self._stop.cut_short(now)
        if left := tuple(replica.name for replica in self.replicas.living):
            self._note_trouble(UNWELL, f"it was stopped before {_names(left)} had finished")
            self._tell(ev.CutShort(left, by))
        for replica in self.replicas:
            self._dismiss(replica)

    def _dismiss(self, replica: ReplicaState) -> None:
        if replica.alive:
            self._terminate(replica)
        elif replica.state is not State.FAILED:
            replica.rest()

    def _terminate(self, replica: ReplicaState) -> None:
        replica.state = State.DRAINING
        self._actions.append(ev.Signal(replica.name, signal.SIGTERM))

    def _kill(self, replica: ReplicaState, cause: str) -> None:
        self._tell(ev.Killed(replica.name, cause))
        self._actions.append(ev.Signal(replica.name, signal.SIGKILL))

    # Making it so.

    def _reconcile(self, now: float) -> None:
        self._keep_stop_deadlines(now)
        self._kill_overdue(now)
        if self.replicas.stopping:
            self._interrupt_needless()
        if not self._stop.is_cut_short:
            self._start_due(now)
        self._see_whether_ready(now)
        abandoned = self._stop.has_killed and self._is_due(self._stop.abandon_at, now)
        if abandoned or self.replicas.is_over:
            self._finish()

    def _keep_stop_deadlines(self, now: float) -> None:
        if not self._stop.is_cut_short and self._is_due(self._stop.drain_until, now):
            self._cut_short(f"the stop timeout of {self._stop.timeout_s:g} s", now)
        if not self._stop.has_killed and self._is_due(self._stop.kill_at, now):
            self._stop.kill(now)
            for replica in self.replicas.living:
                self._kill(replica, _TOO_SLOW)

    def _kill_overdue(self, now: float) -> None:
        for replica in self.replicas.living:
            if self._is_due(replica.kill_at, now):
                replica.kill_at = None
                self._actions.append(ev.Signal(replica.name, signal.SIGKILL))
            elif self._is_due(self._overdue_at(replica), now):
                replica.overdue = True
                self._kill(replica, _TOO_SLOW if replica.term_at else "it did not become ready")

    def _interrupt_needless(self) -> None:
        """Let go of replicas with nothing above them any more: all that was under way is done."""
        for replica in self.replicas.cut_off():
            if replica.state is not State.DRAINING and not replica.is_at_rest:
                self._dismiss(replica)

    def _start_due(self, now: float) -> None:
        room = self._importing_limit - self.replicas.importing
        for replica in self.replicas.sinks_first:
            if room <= 0:
                return
            if self._may_start(replica) and self._is_due(replica.due_at, now):
                replica.restarts += replica.state is not State.STOPPED
                replica.spawn(now)
                self._actions.append(ev.Spawn(replica.name))
                self._revive_below(replica, now)
                room -= 1

    def _revive_below(self, replica: ReplicaState, now: float) -> None:
        """Bring back replicas that took the end of the one that is restarted for the last."""
        for below in self.replicas.below(replica):
            if below.is_at_rest:
                below.due_at = now

    def _see_whether_ready(self, now: float) -> None:
        if self._was_ready or self.replicas.stopping:
            return
        up = {State.READY, State.DRAINING, State.STOPPED}
        self._was_ready = all(
            replica.ready_at is not None and replica.state in up for replica in self.replicas
        )
        if self._was_ready:
            self._tell(ev.ChainBecameReady(now - self._began_at))

    def _finish(self) -> None:
        self.finished = True
        if alive := [replica.name for replica in self.replicas.living]:
            self._note_trouble(UNWELL, f"{_names(alive)} could not be ended")
        failed = [replica.name for replica in self.replicas if replica.state is State.FAILED]
        if failed:
            self._note_trouble(UNWELL, f"{_names(failed)} failed")
        if broken := [replica.name for replica in self.replicas if replica.is_broken]:
            self._note_trouble(UNWELL, f"{_names(broken)} had ended badly and did not come back")
        self._actions.append(ev.Finish(self._exit_code, self._reasons))

    # Small questions.

    @property
    def _has_room(self) -> bool:
        return self.replicas.importing < self._importing_limit

    def _may_start(self, replica: ReplicaState) -> bool:
        failed_for_good = self.replicas.stopping and replica.state is State.FAILED
        return not replica.alive and not failed_for_good

    def _is_wanted(self, replica: ReplicaState) -> bool:
        """Whether it must come back while the chain drains: what is under way needs it."""
        return (
            self._flowing
            and not self._stop.is_cut_short
            and not replica.is_listener
            and not self.replicas.is_cut_off(replica)
        )

    def _overdue_at(self, replica: ReplicaState) -> float | None:
        """When a living replica has had its time to become READY, or to end."""
        if replica.overdue or self._stop.has_killed:
            return None
        if replica.term_at is not None:
            return replica.term_at + self._stop.timeout_s
        if replica.state is State.STARTING:
            return replica.spawned_at + replica.stage.start_timeout_s
        return None

    @staticmethod
    def _is_due(time: float | None, now: float) -> bool:
        return time is not None and now >= time

    def _note_trouble(self, exit_code: int, reason: str) -> None:
        """The first trouble decides how the supervisor ends, and is what is told of it."""
        self._exit_code = self._exit_code or exit_code
        self._reasons = self._reasons or (reason,)

    def _tell(self, announcement: ev.Announcement) -> None:
        self._actions.append(announcement)


def _names(names: Sequence[ReplicaName]) -> str:
    return ", ".join(map(str, names)) if len(names) <= NAMED else f"{len(names)} processes"
