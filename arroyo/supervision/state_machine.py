"""The supervisor's decisions: events and the time go in, actions come out. PURE.

Rules that hold whatever happens:

- a replica has one process at most, and none once the chain is finished;
- no more processes import at once than the machine has processors, sinks before sources;
- a stop always ends: drained in order, else at its deadline, else killed, else abandoned;
- what was told to stop never counts as a failure.

Commands only change what is wanted; `_reconcile`, run after every event, makes it so.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable

from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName

from . import events as ev
from .events import Action, Ending, State
from .replica import Replica, stages_over
from .restart_policy import (
    PERMANENT_EXITS,
    RETRY_FAILED_S,
    STABLE_S,
    RecentEnds,
    backoff_delay_s,
)

END_GRACE_S = 2.0
"""A stage with nothing above it that is idle for so long will not be told the end any more."""
KILL_AFTER_S = 2.0
"""From the last SIGTERM to SIGKILL."""
ABANDON_AFTER_S = 5.0
"""From SIGKILL until a process that can't die (waiting for a dead file server) is left behind."""
UNWELL = 1
"""Exit code of a chain that ended, but not well."""


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
        self._chain = chain
        self._policy = chain.supervision
        self._importing_limit = importing_limit
        self._random = random
        self._actions: list[Action] = []
        self.replicas = {
            name: Replica(name, chain.stages[name.stage], self._policy.within_s)
            for name in chain.replicas
        }
        self._recent = RecentEnds(self._policy.within_s)
        self._began_at = now
        self._was_ready = False
        self._flowing = False
        self._exit_code = 0
        self._deadline: float | None = None
        self._kill_at: float | None = None
        self._abandon_at: float | None = None
        self.finished = False

    # What others may ask.

    @property
    def stopping(self) -> bool:
        """Whether the chain is being stopped."""
        return self._deadline is not None

    @property
    def state(self) -> State:
        """State of the chain as a whole."""
        states = {replica.state for replica in self.replicas.values()}
        if states == {State.STOPPED} and (self.stopping or self.finished):
            return State.STOPPED
        if self.stopping:
            return State.DRAINING
        if states <= {State.READY, State.DRAINING, State.STOPPED} and self._was_ready:
            return State.READY if State.READY in states else State.DRAINING
        if states == {State.FAILED}:
            return State.FAILED
        started = self._was_ready or State.FAILED in states
        return State.DEGRADED if started else State.STARTING

    @property
    def awaiting_end(self) -> tuple[ReplicaName, ...]:
        """READY replicas with nothing above them any more; `Idle` events are wanted for these."""
        over = stages_over(self._chain, self.replicas.values(), self.stopping)
        return tuple(
            replica.name
            for replica in self.replicas.values()
            if replica.state is State.READY and self._is_cut_off(replica, over)
        )

    @property
    def next_at(self) -> float | None:
        """Time at which a `Tick` is needed at the latest; None: not before another event."""
        if self.finished:
            return None
        times = [self._deadline if self._kill_at is None else None]
        times.append(self._kill_at if self._abandon_at is None else self._abandon_at)
        room = self._has_room
        for replica in self.replicas.values():
            if replica.alive:
                times.append(self._overdue_at(replica))
            elif room and self._may_start(replica):
                times.append(replica.due_at)
        return min((time for time in times if time is not None), default=None)

    def handle(self, event: ev.Event, now: float) -> list[Action]:
        """Take one event; return what to do, in order."""
        self._actions = []
        if not self.finished:
            self._take(event, now)
            self._reconcile(now)
        return self._actions

    # Events.

    def _take(self, event: ev.Event, now: float) -> None:
        match event:
            case ev.ProcessStarted(name, pid):
                self.replicas[name].pid = pid
            case ev.StartFailed(name, reason):
                self._on_ended(self.replicas[name], None, reason, now)
            case ev.ProcessEnded(name, status):
                self._on_ended(self.replicas[name], status, "", now)
            case ev.Ready(name):
                self._on_ready(self.replicas[name], now)
            case ev.Stopping(name):
                if self.replicas[name].alive:
                    self.replicas[name].state = State.DRAINING
            case ev.Idle(name, since):
                self._on_idle(self.replicas[name], since, now)
            case ev.StopRequested(by):
                if self.stopping:
                    self._cut_short(by, now)
                else:
                    self._begin_stop(by, now)
            case ev.Tick():
                pass

    def _on_ready(self, replica: Replica, now: float) -> None:
        if not replica.is_importing or replica.overdue:
            return
        replica.ready_at = now
        self._flowing = self._flowing or replica.is_listener
        if replica.state is State.STARTING:
            replica.state = State.READY
            self._tell(ev.BecameReady(replica.name, now - replica.spawned_at))

    def _on_idle(self, replica: Replica, since: float, now: float) -> None:
        over = stages_over(self._chain, self.replicas.values(), self.stopping)
        if replica.state is not State.READY or not self._is_cut_off(replica, over):
            return
        if replica.ready_at is not None and now - max(since, replica.ready_at) >= END_GRACE_S:
            replica.term_at = now
            self._terminate(replica)

    def _on_ended(self, replica: Replica, status: int | None, cause: str, now: float) -> None:
        if not replica.alive:
            return
        if replica.overdue and replica.ready_at is None:
            cause = f"not ready within {replica.stage.start_timeout_s:g} s"
        ending = Ending(now - replica.spawned_at, status, cause)
        was_told, was_draining = replica.term_at is not None, replica.state is State.DRAINING
        ready_for_s = 0.0 if replica.ready_at is None else now - replica.ready_at
        replica.end()
        over = stages_over(self._chain, self.replicas.values(), self.stopping)
        if status == 0 and self._is_complete(replica, over):
            replica.rest()
            self._tell(ev.Finished(replica.name, ending.after_s))
        elif self.stopping and not self._is_wanted(replica, over):
            self._end_of_stopped(replica, ending, was_draining)
        elif was_told and replica.overdue:
            self._end_of_stopped(replica, ending, was_draining=True)
        else:
            if ready_for_s >= STABLE_S:
                replica.failures, replica.on_trial = 0, False
                replica.recent.forget()
            self._restart_or_give_up(replica, ending, now)

    def _end_of_stopped(self, replica: Replica, ending: Ending, was_draining: bool) -> None:
        replica.rest()
        told = ending.status == -signal.SIGTERM and was_draining
        killed = replica.overdue or self._abandon_at is not None
        if ending.status == 0 or told:
            self._tell(ev.Finished(replica.name, ending.after_s))
        else:
            self._exit_code = self._exit_code or UNWELL
            if not killed:
                self._tell(ev.EndedBadly(replica.name, ending))

    def _restart_or_give_up(self, replica: Replica, ending: Ending, now: float) -> None:
        replica.failures += 1
        recent, of_chain = replica.recent.note(now), self._recent.note(now)
        permanent = ending.status in PERMANENT_EXITS
        never = permanent or replica.stage.restart == "never"
        too_many = recent > self._policy.max_restarts or of_chain > self._policy.chain_max_restarts
        if never or too_many or replica.on_trial:
            replica.state = State.FAILED
            replica.due_at = None if never else now + RETRY_FAILED_S
            replica.on_trial = not never
            self._tell(ev.GaveUp(replica.name, ending, None if never else RETRY_FAILED_S))
            if permanent and not self._was_ready:
                self._give_up_chain(ending.status or UNWELL, now)
            elif self._policy.on_failed == "stop-chain":
                self._give_up_chain(UNWELL, now)
            return
        delay_s = backoff_delay_s(replica.failures, replica.stage.backoff_s, self._random())
        if ending.status is None:
            # What hinders a process from being made does not go away at once.
            delay_s = max(delay_s, replica.stage.backoff_s)
        replica.state, replica.due_at = State.BACKOFF, now + delay_s
        limit = self._policy.max_restarts
        self._tell(ev.WillRestart(replica.name, ending, delay_s, recent, limit))

    # Stopping.

    def _give_up_chain(self, exit_code: int, now: float) -> None:
        self._exit_code = self._exit_code or exit_code
        if not self.stopping:
            self._begin_stop("a stage that failed", now)

    def _begin_stop(self, by: str, now: float) -> None:
        self._deadline = now + self._policy.stop_timeout_s
        self._tell(ev.Draining(by, self._policy.stop_timeout_s))
        for replica in self.replicas.values():
            # Before a source was READY nothing is under way that would need the others.
            if replica.is_listener or not self._flowing:
                self._dismiss(replica)

    def _cut_short(self, by: str, now: float) -> None:
        if self._kill_at is not None:
            return
        self._kill_at = now + KILL_AFTER_S
        left = tuple(replica.name for replica in self._living())
        if left:
            self._exit_code = self._exit_code or UNWELL
            self._tell(ev.CutShort(left, by))
        for replica in self.replicas.values():
            self._dismiss(replica)

    def _dismiss(self, replica: Replica) -> None:
        if replica.alive:
            self._terminate(replica)
        elif replica.state is not State.FAILED:
            replica.rest()

    def _terminate(self, replica: Replica) -> None:
        replica.state = State.DRAINING
        self._actions.append(ev.Signal(replica.name, signal.SIGTERM))

    def _kill(self, replica: Replica, cause: str) -> None:
        self._tell(ev.Killed(replica.name, cause))
        self._actions.append(ev.Signal(replica.name, signal.SIGKILL))

    # Making it so.

    def _reconcile(self, now: float) -> None:
        self._keep_deadlines(now)
        if self.stopping:
            self._interrupt_needless()
        if self._kill_at is None:
            self._start_due(now)
        self._see_whether_ready(now)
        over = stages_over(self._chain, self.replicas.values(), self.stopping)
        abandoned = self._abandon_at is not None and now >= self._abandon_at
        if all(over.values()) or abandoned:
            self._finish()

    def _keep_deadlines(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._cut_short(f"the stop timeout of {self._policy.stop_timeout_s:g} s", now)
        if self._kill_at is not None and self._abandon_at is None and now >= self._kill_at:
            self._abandon_at = now + ABANDON_AFTER_S
            for replica in self._living():
                self._kill(replica, "it did not end in time")
        for replica in self._living():
            overdue_at = self._overdue_at(replica)
            if overdue_at is not None and now >= overdue_at:
                replica.overdue = True
                cause = "it did not end in time" if replica.term_at else "it did not become ready"
                self._kill(replica, cause)

    def _overdue_at(self, replica: Replica) -> float | None:
        if replica.overdue or self._abandon_at is not None:
            return None
        if replica.term_at is not None:
            return replica.term_at + self._policy.stop_timeout_s
        if replica.state is State.STARTING:
            return replica.spawned_at + replica.stage.start_timeout_s
        return None

    def _interrupt_needless(self) -> None:
        """Let go of replicas with nothing above them any more: all that was under way is done."""
        over = stages_over(self._chain, self.replicas.values(), stopping=True)
        for level in self._chain.levels:
            for stage in level:
                members = [self.replicas[name] for name in stage.names]
                if stage.inputs and all(over[source.stage] for source in stage.inputs):
                    for replica in members:
                        if replica.state is not State.DRAINING:
                            self._dismiss(replica)
                    over = stages_over(self._chain, self.replicas.values(), stopping=True)

    def _start_due(self, now: float) -> None:
        for replica in reversed(self.replicas.values()):
            if not self._may_start(replica) or replica.due_at is None or now < replica.due_at:
                continue
            if not self._has_room:
                return
            if replica.state is not State.STOPPED:
                replica.restarts += 1
            replica.spawn(now)
            self._actions.append(ev.Spawn(replica.name))
            self._revive_below(replica, now)

    def _revive_below(self, replica: Replica, now: float) -> None:
        """Bring back replicas that took the end of the one that is restarted for the last."""
        for stage, _ in self._chain.downstream(replica.name.stage):
            for below in (self.replicas[name] for name in stage.names):
                if not below.alive and below.state is State.STOPPED and below.due_at is None:
                    below.due_at = now

    def _see_whether_ready(self, now: float) -> None:
        if not self._was_ready and not self.stopping:
            up = {State.READY, State.DRAINING, State.STOPPED}
            self._was_ready = all(
                replica.ready_at is not None and replica.state in up
                for replica in self.replicas.values()
            )
            if self._was_ready:
                self._tell(ev.ChainBecameReady(now - self._began_at))

    def _finish(self) -> None:
        self.finished = True
        if any(replica.state is State.FAILED for replica in self.replicas.values()):
            self._exit_code = self._exit_code or UNWELL
        if any(self._living()):
            self._exit_code = self._exit_code or UNWELL
        self._actions.append(ev.Finish(self._exit_code))

    # Small questions.

    def _may_start(self, replica: Replica) -> bool:
        return not replica.alive and not (self.stopping and replica.state is State.FAILED)

    @property
    def _has_room(self) -> bool:
        importing = sum(replica.is_importing for replica in self.replicas.values())
        return importing < self._importing_limit

    def _living(self) -> Iterable[Replica]:
        return [replica for replica in self.replicas.values() if replica.alive]

    def _is_cut_off(self, replica: Replica, over: dict[str, bool]) -> bool:
        """Whether nothing above it can send any more."""
        return not replica.is_listener and all(
            over[source.stage] for source in replica.stage.inputs
        )

    def _is_wanted(self, replica: Replica, over: dict[str, bool]) -> bool:
        """Whether it must come back while the chain drains: what is under way needs it."""
        return (
            self._flowing
            and self._kill_at is None
            and not replica.is_listener
            and not self._is_cut_off(replica, over)
        )

    def _is_complete(self, replica: Replica, over: dict[str, bool]) -> bool:
        """Whether an exit with 0 means that its work is done."""
        if replica.is_listener:
            return self.stopping or replica.stage.restart != "always"
        return all(
            over[source.stage] or self._is_draining(source.stage) for source in replica.stage.inputs
        )

    def _is_draining(self, stage: str) -> bool:
        """Whether each replica of the stage has ended or is about to."""
        members = [self.replicas[name] for name in self._chain.stages[stage].names]
        return all(
            replica.state is State.DRAINING
            or (replica.state is State.STOPPED and replica.due_at is None)
            for replica in members
        )

    def _tell(self, announcement: ev.Announcement) -> None:
        self._actions.append(announcement)
