"""What follows from the end of a process: rest, a restart, or FAILED. PURE.

What was told to end rests, or starts again, as it was meant to. What has done its work rests,
though it may have failed after that. Anything else is a failure, of which the restart policy says
what follows; one that gives up may end the chain.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from . import actions as act
from .ending import Ending
from .events import State
from .replica import ReplicaState
from .replicas import Replicas
from .restart_policy import RestartPolicy
from .shutdown import Shutdown
from .totals import UNWELL

STABLE_S = 60.0
"""Earlier failures of a replica that was READY for this long do not count any more."""


class ProcessEnds:
    """Takes the ends of processes, one after the other.

    Parameters
    ----------
    note_trouble
        Takes a sentence on why the chain has not ended well, and the exit code for that.
    """

    def __init__(
        self,
        replicas: Replicas,
        restarts: RestartPolicy,
        shutdown: Shutdown,
        *,
        emit: Callable[[act.Action], None],
        note_trouble: Callable[[str, int], None],
    ) -> None:
        self._replicas = replicas
        self._restarts = restarts
        self._shutdown = shutdown
        self._emit = emit
        self._note_trouble = note_trouble

    def take(self, replica: ReplicaState, ending: Ending, now: float) -> None:
        """Decide what becomes of a replica whose process has ended."""
        if replica.ready_at is not None and now - replica.ready_at >= STABLE_S:
            replica.forgive()
        was_draining, told = replica.state is State.DRAINING, replica.told_to_end
        restarts = replica.is_restarting and (
            not self._replicas.stopping or self._is_wanted(replica)
        )
        killed_alone = replica.overdue and replica.term_at is not None and not told
        replica.end()
        may_finish = self._replicas.may_finish(replica)
        # A listener, or a program, that was told to end exits as one that has finished.
        held = (replica.is_listener or replica.is_program) and told and replica.held_by
        if restarts:
            self._start_anew(replica, ending, now)
        elif replica.has_finished(ending) and may_finish and not held:
            replica.held_by = ""
            replica.rest()
            self._emit(act.Finished(replica.name, ending.after_s))
        elif replica.held_by:
            self._rest_held(replica, ending)
        elif (
            killed_alone
            or (may_finish and replica.failed_after_work(ending))
            or self._is_needless(replica)
        ):
            self._rest_stopped(replica, ending, was_draining)
        else:
            self._restart_or_give_up(replica, ending, now)

    def _is_needless(self, replica: ReplicaState) -> bool:
        """Whether it need not come back, whatever it died of."""
        if self._replicas.stopping:
            return not self._is_wanted(replica)
        return replica.is_program and self._replicas.is_cut_off(replica)

    def start_over(self, replica: ReplicaState, ending: Ending, now: float) -> None:
        """Start a replica again, whose process could not start by what a reload said of it."""
        replica.end()
        self._start_anew(replica, ending, now)

    def _is_wanted(self, replica: ReplicaState) -> bool:
        """Whether it must come back while the chain drains: what is in flight needs it."""
        return (
            self._replicas.flowing
            and not self._shutdown.is_cut_short
            and not replica.is_listener
            and not self._replicas.is_cut_off(replica)
        )

    def _start_anew(self, replica: ReplicaState, ending: Ending, now: float) -> None:
        """Start a replica that was told to end for that; its end is no failure."""
        self._tell_of_disorder(replica, ending)
        replica.forgive()
        replica.state, replica.due_at = State.BACKOFF, now

    def _rest_held(self, replica: ReplicaState, ending: Ending) -> None:
        """Rest until somebody has it started again; its end is no failure either."""
        in_order = self._tell_of_disorder(replica, ending)
        if replica.is_listener and not in_order:
            replica.ending = ending  # what it had in flight may be lost
        replica.rest()
        self._emit(act.StoppedOnRequest(replica.name))

    def _tell_of_disorder(self, replica: ReplicaState, ending: Ending) -> bool:
        """Return True if a replica that was told to end has ended in order; else tell of it."""
        in_order = replica.has_finished(ending) or ending.status == -signal.SIGTERM
        if not in_order and not replica.overdue:
            self._emit(act.EndedBadly(replica.name, ending))
        return in_order

    def _rest_stopped(self, replica: ReplicaState, ending: Ending, was_draining: bool) -> None:
        replica.rest()
        told = ending.status == -signal.SIGTERM and was_draining
        if replica.has_finished(ending) or told:
            self._emit(act.Finished(replica.name, ending.after_s))
            return
        self._note_trouble(f"{replica.name} did not end in order", UNWELL)
        if not replica.overdue and not self._shutdown.has_killed:
            self._emit(act.EndedBadly(replica.name, ending))

    def _restart_or_give_up(self, replica: ReplicaState, ending: Ending, now: float) -> None:
        plan = self._restarts.plan(replica, ending, now)
        self._emit(plan)
        if not isinstance(plan, act.GaveUp):
            return
        if self._restarts.makes_useless(ending):
            reason = f"{replica.name} can not run as it is configured"
            self._note_trouble(reason, ending.status or UNWELL)
        elif self._replicas.limits.on_failed != "hold":
            self._note_trouble(f"{replica.name} failed", UNWELL)
        else:
            return
        at_once = self._replicas.limits.on_failed == "exit" and not self._replicas.stopping
        self._shutdown.begin(f"{replica.name}, which failed", now)
        if at_once:
            self._shutdown.request(f"{replica.name}, which failed", now)
