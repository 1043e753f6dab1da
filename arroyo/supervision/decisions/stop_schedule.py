"""How long a chain that is being stopped has: the deadline, SIGKILL, and giving up. PURE."""

from __future__ import annotations

KILL_AFTER_S = 2.0
"""From the last SIGTERM to SIGKILL."""
ABANDON_AFTER_S = 5.0
"""From SIGKILL until a process that can't die (waiting for a dead file server) is left behind."""


class StopSchedule:
    """Times at which a stop becomes more urgent; each is None until the one before has come."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.drain_until: float | None = None
        self.kill_at: float | None = None
        self.abandon_at: float | None = None

    @property
    def is_cut_short(self) -> bool:
        """Whether nothing is waited for any more."""
        return self.kill_at is not None

    @property
    def has_killed(self) -> bool:
        """Whether all that was left has been killed."""
        return self.abandon_at is not None

    @property
    def next_at(self) -> float | None:
        """When the next step is due."""
        return self.abandon_at or self.kill_at or self.drain_until

    def begin(self, now: float) -> None:
        """Let the chain drain from now on."""
        self.drain_until = now + self.timeout_s

    def cut_short(self, now: float) -> None:
        """Wait for nothing any more: everything was told to end now."""
        self.kill_at = now + KILL_AFTER_S

    def kill(self, now: float) -> None:
        """Everything was killed now."""
        self.abandon_at = now + ABANDON_AFTER_S
