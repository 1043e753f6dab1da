"""`Latencies`: how long messages take to a replica, counted once per batch. PURE.

There are two histograms: from the listener's `process()` until the stage's code is done, and of the
last hop, from the neighbour's sending until the stage takes up the batch. The oldest message of a
batch stands for all of them, so a time is too long rather than too short.
"""

from __future__ import annotations

from collections.abc import MutableSequence

from arroyo.codec import Batch, Kind

from .histogram import note


class Latencies:
    """Latencies at one receiving replica; all times are CLOCK_MONOTONIC, in ns.

    Start and Stop are not counted (a Stop waits for its whole run). Redelivered messages count for
    the hop only: their latency tells how long the recovery took, not how fast the chain is.

    `latency`, `hop`: the histograms, one word for each bucket.
    `flushes`: whether messages are done only at the next `flushed`.
    `comparable`: whether senders have the same clock; otherwise nothing is counted.
    """

    def __init__(
        self,
        latency: MutableSequence[int] | memoryview,
        hop: MutableSequence[int] | memoryview,
        *,
        flushes: bool = False,
        comparable: bool = True,
    ) -> None:
        self._latency = latency
        self._hop = hop
        self._flushes = flushes
        self._comparable = comparable
        self._unflushed: list[tuple[int, int]] = []
        self._begun = 0

    def note(self, batch: Batch, messages: int, begun_ns: int, done_ns: int) -> None:
        """Count messages of a batch that the stage's code began and finished at these times."""
        if not self._comparable or batch.kind != Kind.EVENTS:
            return
        if 0 < batch.sent_ns <= begun_ns:
            note(self._hop, begun_ns - batch.sent_ns, messages)
        if batch.attempt or not 0 < batch.handed_ns <= done_ns:
            return
        if self._flushes:
            self._unflushed.append((batch.handed_ns, messages))
        else:
            note(self._latency, done_ns - batch.handed_ns, messages)

    def begin_flush(self) -> None:
        """A flush begins that is for the messages that are done."""
        self._begun = len(self._unflushed)

    def flushed(self, now_ns: int, *, begun: bool = False) -> None:
        """Count the messages that were done before this flush, which has ended.

        `begun`: it began at `begin_flush`.
        """
        count = self._begun if begun else len(self._unflushed)
        for handed_ns, messages in self._unflushed[:count]:
            note(self._latency, now_ns - handed_ns, messages)
        del self._unflushed[:count]
        self._begun = 0
