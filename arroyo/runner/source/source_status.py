"""`SourceStatus`: what the status page says of a source."""

from __future__ import annotations

from arroyo.codec import Reason
from arroyo.protocol.source.source import Source
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.process.stage_context import StageContext
from arroyo.stages import Listener

STATUS_S = 0.2
"""How often the counters are written to the status page while nothing else happens."""
_RUN_ENDS = {
    Reason.FILTERED: "run_filtered",
    Reason.SKIPPED: "run_skipped",
    Reason.QUARANTINED: "run_quarantined",
}
"""Words that say how many events of the open run ended on their way."""


class SourceStatus:
    """Writes the counters of one source to its status page, now and then."""

    def __init__(
        self, replica: StageContext, listener: Listener, window: InputWindow, source: Source
    ) -> None:
        self.sent = 0
        """How many events were given to the state machine."""
        self._replica = replica
        self._listener = listener
        self._window = window
        self._source = source
        self._due = 0.0

    @property
    def unfinished(self) -> int:
        """How many events the listener has handed over that are not finished."""
        return self._source.ledger.open_events + self._window.waiting

    def write_if_due(self, now: float) -> None:
        """Write if the last time is long enough ago."""
        if now >= self._due:
            self._due = now + STATUS_S
            self.write()
            self._replica.tap.look()

    def write(self) -> None:
        """Write what is so now."""
        page, window, source = self._replica.page, self._window, self._source
        page.set("errors", self._replica.rejected)
        page.set("rejected", self._replica.rejected + self._refused_input())
        page.set("bytes_in", window.bytes_in)
        page.set("dropped", window.dropped)
        page.set("sent", self.sent)
        in_flight = source.ledger.next - source.ledger.frontier
        page.set("in_flight", in_flight)
        page.set("unfinished", in_flight + window.waiting)
        page.set("inline", self._replica.payloads.inline)
        page.set("redelivered", source.redelivered)
        page.set("lost", source.lost)

    def write_last(self) -> None:
        """Write what is left undone: only events count, as nobody misses a Start or Stop."""
        self.write()
        page, ledger = self._replica.page, self._source.ledger
        open_events = ledger.open_events
        page.set("unfinished", open_events + self._window.waiting)
        page.set("arrived", ledger.next - open_events)
        for reason, word in _RUN_ENDS.items():
            page.set(word, ledger.tombstones.count(reason))

    def _refused_input(self) -> int:
        """Count what came from outside and could not be taken."""
        # A listener that counts what it rejects counts there what was refused to it as well.
        rejected = getattr(self._listener, "rejected", 0)
        return max(self._window.refused, rejected if isinstance(rejected, int) else 0)
