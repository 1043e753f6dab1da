"""`Flusher`: flushes a publisher, and acknowledges what it has published.

Nothing is acknowledged before a flush has returned. So if the broker is away and `flush()` raises,
the sources still have these messages, and send them again.

A publisher with `begin_flush()` goes on publishing while that is under way; where it takes long, it
is flushed as the others are, and waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from arroyo.codec import Reason
from arroyo.messages import Origin
from arroyo.protocol.values.actions import Action
from arroyo.runner.process.stage_context import StageContext
from arroyo.runner.user_code.publisher_call import PendingFlush, PublisherCall
from arroyo.telemetry.latencies import Latencies
from arroyo.telemetry.status_words import Phase

from .counters import Counters
from .retrying_caller import RetryingCaller

if TYPE_CHECKING:
    from arroyo.protocol.relay.relay import Relay

FLUSH_S = 0.1
FLUSH_BYTES = 64 * 1024 * 1024
"""A publisher with `flush()` is flushed when one of these is reached."""
LOOK_S = 0.005
"""How often it is looked whether a flush that is under way is over."""
PATIENCE_S = 1.0
"""One that takes longer is waited for: the outside is away, or stands still."""


class Flusher:
    """Calls `flush()` of one publisher when enough is published, or has waited for long enough."""

    def __init__(
        self,
        replica: StageContext,
        flushing: PublisherCall,
        relay: Relay,
        caller: RetryingCaller,
        perform: Callable[[Sequence[Action]], None],
        *,
        counters: Counters,
        latencies: Latencies,
    ) -> None:
        self._replica = replica
        self._flushing = flushing
        self._relay = relay
        self._caller = caller
        self._perform = perform
        self._counters = counters
        self._latencies = latencies
        self._due: float | None = None
        """When to flush next; None: nothing was published since the last time."""
        self._flushed_bytes = 0
        self._pending: PendingFlush | None = None
        self._look_at = self._wait_at = 0.0
        """When to look at what is under way, and when to wait for it."""

    @property
    def due(self) -> float | None:
        """When there is something to do; None: nothing was published since the last time."""
        return self._due if self._pending is None else self._look_at

    def note_published(self) -> None:
        """Something may have been published."""
        now = self._replica.clock.monotonic()
        self._due = self._due or now + FLUSH_S
        if self._counters.bytes_in - self._flushed_bytes >= FLUSH_BYTES:
            self._due = now

    def flush_if_due(self, now: float) -> bool:
        """Flush if it is time; return whether the publisher was called."""
        if self._pending is not None:
            return self._look(self._pending, now)
        is_due = self._due is not None and now >= self._due
        return is_due and (self._begin(now) or self.flush())

    def flush(self) -> bool:
        """Flush; only then are the messages finished. Return False if nothing was published."""
        if self._due is None and self._pending is None:
            return False
        self._replica.enter(Phase.FLUSH)
        refused = self._caller.call(lambda _: self._flushing.flush()) or {}
        self._note_begun()
        self._end(refused, begun=False)
        return True

    def _begin(self, now: float) -> bool:
        """Begin a flush in the background; return False if this publisher has none."""
        self._pending = self._caller.call(lambda _: self._flushing.begin_flush())
        if self._pending is None:
            return False
        self._relay.begin_flush()
        self._latencies.begin_flush()
        self._note_begun()
        self._look_at, self._wait_at = now + LOOK_S, now + PATIENCE_S
        return True

    def _note_begun(self) -> None:
        """All that came in so far is flushed, or about to be."""
        self._due, self._flushed_bytes = None, self._counters.bytes_in

    def _look(self, pending: PendingFlush, now: float) -> bool:
        """Look whether a flush is over; wait for it if that takes too long."""
        if now >= self._wait_at:
            return self.flush()
        self._look_at = now + LOOK_S
        refused = self._caller.call(lambda _: pending())
        if refused is not None:
            self._end(refused, begun=True)
        return True

    def _end(self, refused: Mapping[Origin, Reason], *, begun: bool) -> None:
        self._pending = None
        self._latencies.flushed(self._replica.now_ns(), begun=begun)
        self._counters.take_back(refused.values())
        self._perform(self._relay.flushed(refused, begun=begun))
