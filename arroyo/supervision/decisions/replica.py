"""One replica as the supervisor sees it. PURE."""

from __future__ import annotations

import signal

from arroyo.config.graph import Stage
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.recent_times import RecentTimes

from .ending import AFTER_WORK, FINISHED, PERMANENT_EXITS, TRY_LATER_EXIT, Ending
from .events import State
from .health import Condition


class ReplicaState:
    """State of one replica and its process. Only the state machine changes it."""

    def __init__(self, name: ReplicaName, stage: Stage, within_s: float) -> None:
        self.name = name
        self.stage = stage
        self.state = State.STOPPED
        self.alive = False
        """Whether a process was asked for and has not ended."""
        self.pid: int | None = None
        self.version = 0
        """Number of the version of the chain with which its last process was started."""
        self.due_at: float | None = 0.0
        """When a process is to be started; None: none is planned."""
        self.spawned_at = 0.0
        self.ready_at: float | None = None
        """When this process became READY."""
        self.term_at: float | None = None
        """When this process alone was told to end, while the chain runs on."""
        self.told_to_end = False
        """Whether its process was told to end because somebody asked for that."""
        self.held_by = ""
        """Who had it stopped, until somebody has it started; empty: nobody has."""
        self.is_spare = False
        """Whether it is stopped because fewer replicas are wanted, and not for itself."""
        self.said_stopping = False
        """Whether this process reported STOPPING=1: its work is done, or it was told to end."""
        self.overdue = False
        """Whether it was killed because it did not become READY, or did not end, in time."""
        self.condition = Condition.WELL
        """Condition of its process."""
        self.unwell = ""
        """Why it is not well, in words that follow its name; empty: it is."""
        self.hung = ""
        """How its process hangs, in words; empty: it does not."""
        self.too_large = ""
        """How much more memory it has than it may, in words; empty: it has not."""
        self.kill_at: float | None = None
        """When it is killed for hanging, or for being too large."""
        self.restarts = 0
        """How often it was started again after an end that nobody had ordered."""
        self.failures = 0
        """Unexpected ends since it was last stable; see `ends.STABLE_S`."""
        self.waits = 0
        """Ends with `TRY_LATER_EXIT` since it was last stable."""
        self.ending: Ending | None = None
        """How its last process ended, if that was not in order."""
        self.on_trial = False
        """Whether it was FAILED: one more failure puts it back there."""
        self.recent = RecentTimes(within_s)

    @property
    def is_listener(self) -> bool:
        """Whether it is a source."""
        return self.stage.role == "listener"

    @property
    def is_program(self) -> bool:
        """Whether it is no code of the chain's but a program that the chain needs."""
        return self.stage.role == "program"

    @property
    def is_up(self) -> bool:
        """Whether its process is READY, or was and is about to end."""
        return self.alive and self.ready_at is not None

    @property
    def is_restarting(self) -> bool:
        """Whether its process was told to end in order to start again."""
        return self.told_to_end and not self.held_by

    @property
    def is_importing(self) -> bool:
        """Whether its process runs and has not been READY yet; a program imports nothing."""
        return self.alive and self.ready_at is None and not self.is_program

    @property
    def is_at_rest(self) -> bool:
        """Whether it has ended and nothing is planned for it."""
        return not self.alive and self.state is State.STOPPED and self.due_at is None

    @property
    def is_down_for_long(self) -> bool:
        """Whether it has no process, and gets none soon by itself."""
        return not self.alive and bool(self.held_by or self.state is State.FAILED)

    def may_be_started(self, target: str, *, stopping: bool) -> bool:
        """Return True if an order to start `target`, which it is a part of, changes something.

        `stopping`: the chain is being stopped. Then only what was stopped may be needed again, for
        what is in flight.
        """
        if self.is_spare and target != str(self.name):
            return False
        if stopping:
            return bool(self.held_by) and not self.is_listener
        has_ended = self.state in {State.BACKOFF, State.FAILED}
        return bool(self.held_by) or has_ended or (self.is_program and self.is_at_rest)

    @property
    def is_broken(self) -> bool:
        """Whether it rests after a failure, other than `TRY_LATER_EXIT`."""
        broken = self.ending is not None and self.ending.status != TRY_LATER_EXIT
        return broken and self.is_at_rest

    @property
    def awaits_correction(self) -> bool:
        """Whether it is FAILED for its configuration, so that only a change can help."""
        return (
            self.state is State.FAILED
            and self.due_at is None
            and self.ending is not None
            and self.ending.status in PERMANENT_EXITS
            and self.stage.restart != "never"
        )

    @property
    def seen_state(self) -> State:
        """State for people: DEGRADED where it is READY, but can't work for now."""
        well = self.condition is Condition.WELL
        return State.DEGRADED if self.state is State.READY and not well else self.state

    def spawn(self, now: float, version: int = 0) -> None:
        """Note that a process is asked for, with a version of the chain."""
        self.version = version
        self.state, self.alive, self.due_at = State.STARTING, True, None
        self.spawned_at, self.ready_at, self.term_at = now, None, None
        self.said_stopping = self.overdue = False
        self.ending = None

    def has_finished(self, ending: Ending) -> bool:
        """Return True if an exit with 0 means that the process came to the end of its work.

        C code (``exit(0)``) and Fortran code (``STOP``) can leave with 0 at any moment. The status
        page says how far the process came; without a page, STOPPING must have been said.
        """
        phase = ending.evidence.phase
        return ending.status == 0 and (phase == FINISHED if phase else self.said_stopping)

    def failed_after_work(self, ending: Ending) -> bool:
        """Return True if the process had done its work when it failed, or hung and was killed.

        A kill from outside is no failure of its own. What waits for a disk or a server, to close a
        file or a connection, gets another life for that; not a listener, which would begin anew.
        """
        phase = ending.evidence.phase
        if ending.evidence.hung:
            return self.said_stopping and phase in AFTER_WORK
        waits = ending.status == TRY_LATER_EXIT and not self.is_listener
        its_own = not waits and ending.status != -signal.SIGKILL
        return self.said_stopping and phase == FINISHED and its_own

    def forgive(self) -> None:
        """Forget earlier failures."""
        self.failures, self.waits, self.on_trial = 0, 0, False
        self.recent.forget()

    def end(self) -> None:
        """Note that its process has ended."""
        self.alive, self.pid, self.term_at, self.told_to_end = False, None, None, False
        self.condition, self.hung, self.too_large = Condition.WELL, "", ""
        self.unwell, self.kill_at = "", None

    def rest(self) -> None:
        """Stay STOPPED, without a process."""
        self.state, self.due_at = State.STOPPED, None

    def retry(self, now: float) -> None:
        """Start as soon as there is room, with earlier failures forgiven."""
        self.forgive()
        self.due_at = now


def is_due(time: float | None, now: float) -> bool:
    """Return True if there is such a time, and it has come."""
    return time is not None and now >= time
