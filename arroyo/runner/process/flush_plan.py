"""`FlushPlan`: when a publisher with `flush()` is flushed next. PURE."""

from __future__ import annotations

FLUSH_S = 0.1
FLUSH_BYTES = 64 * 1024 * 1024
"""A publisher with `flush()` is flushed when one of these is reached."""


class FlushPlan:
    """Since when something waits for a flush, and how much it is."""

    def __init__(self) -> None:
        self.due: float | None = None
        """When to flush, in s; None: nothing was published since the last time."""
        self._flushed_bytes = 0

    def note(self, now: float, bytes_in: int) -> None:
        """Something was published; `bytes_in`: how much has come in since the stage began."""
        self.due = self.due or now + FLUSH_S
        if bytes_in - self._flushed_bytes >= FLUSH_BYTES:
            self.due = now

    def is_due(self, now: float) -> bool:
        """Whether it is time."""
        return self.due is not None and now >= self.due

    def note_flushed(self, bytes_in: int) -> None:
        """All that came in has been flushed."""
        self.due, self._flushed_bytes = None, bytes_in
