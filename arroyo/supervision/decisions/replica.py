"""One replica as the supervisor sees it. PURE."""

from __future__ import annotations

from arroyo.config.graph import Stage
from arroyo.identifiers import ReplicaName

from .ending import AFTER_WORK, FINISHED, Ending
from .events import State
from .health import Condition
from .restart_policy import PERMANENT_EXITS, TRY_LATER_EXIT, RecentEnds


class ReplicaState:
    """What is known of one replica. Only the state machine changes it."""

    def __init__(self, name: ReplicaName, stage: Stage, within_s: float) -> None:
        self.name = name
        self.stage = stage
        self.state = State.STOPPED
        self.alive = False
        """A process was asked for and has not ended."""
        self.pid: int | None = None
        self.due_at: float | None = 0.0
        """When a process is to be started; None: not by itself."""
        self.spawned_at = 0.0
        self.ready_at: float | None = None
        """When this process became READY."""
        self.term_at: float | None = None
        """When this process alone was told to end, the chain still running."""
        self.said_stopping = False
        """This process said STOPPING=1: it ends because its work is done, or it was told to."""
        self.overdue = False
        """Killed because it did not become READY, or did not end, in time."""
        self.condition = Condition.WELL
        """How its process is doing."""
        self.hung = ""
        """In which way it hangs, in words; empty: it does not."""
        self.kill_at: float | None = None
        """When it is killed for that."""
        self.restarts = 0
        self.failures = 0
        """Unexpected ends since it was last stable."""
        self.waits = 0
        """How often it has ended because something outside was away, since it was last stable."""
        self.ending: Ending | None = None
        """How its last process ended, if that was not in order."""
        self.on_trial = False
        """Started again after FAILED: one failure puts it back there."""
        self.recent = RecentEnds(within_s)

    @property
    def is_listener(self) -> bool:
        """Whether it is a source."""
        return self.stage.role == "listener"

    @property
    def is_importing(self) -> bool:
        """Whether its process runs and has not been READY yet."""
        return self.alive and self.ready_at is None

    @property
    def is_at_rest(self) -> bool:
        """Whether it has ended and nothing is planned for it."""
        return not self.alive and self.state is State.STOPPED and self.due_at is None

    @property
    def is_broken(self) -> bool:
        """Whether it is at rest after an end that was not in order, nor for what may pass."""
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
        """State for people: READY is DEGRADED where it can't do its work for now."""
        well = self.condition is Condition.WELL
        return State.DEGRADED if self.state is State.READY and not well else self.state

    def spawn(self, now: float) -> None:
        """A process is asked for."""
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

    def hung_after_work(self, ending: Ending) -> bool:
        """Return True if the process had done its work when it hung, and was killed for that."""
        evidence = ending.evidence
        return bool(evidence.hung) and self.said_stopping and evidence.phase in AFTER_WORK

    def forgive(self) -> None:
        """Forget earlier failures."""
        self.failures, self.waits, self.on_trial = 0, 0, False
        self.recent.forget()

    def end(self) -> None:
        """Its process is gone."""
        self.alive, self.pid, self.term_at = False, None, None
        self.condition, self.hung, self.kill_at = Condition.WELL, "", None

    def rest(self) -> None:
        """Stay without a process."""
        self.state, self.due_at = State.STOPPED, None
