"""`Latencies`: how long messages take to a replica, counted once per batch. PURE.

Two histograms: of the way from the source's `process()` to where the stage's code is done, and of
the last hop, from the neighbour's sending to where the stage takes the batch up. The oldest message
of a batch stands for all of them, so that a time is rather too long than too short.
"""

from __future__ import annotations

from collections.abc import MutableSequence

from arroyo.codec import Batch, Kind

from .histogram import note


class Latencies:
    """What one receiving replica has seen; all times are CLOCK_MONOTONIC, in ns.

    Not counted are Start and Stop (a Stop waits for its whole run), and, for the whole way, what
    was sent again: it tells how long the mending took, not how fast the chain is, and is counted
    as `redelivered` at the source.

    Parameters
    ----------
    way, hop
        Where they are counted, one word for each bucket.
    flushes
        Whether what is done counts only after the next `flushed`.
    comparable
        Whether senders have the same clock; else nothing is counted.
    """

    def __init__(
        self,
        way: MutableSequence[int] | memoryview,
        hop: MutableSequence[int] | memoryview,
        *,
        flushes: bool = False,
        comparable: bool = True,
    ) -> None:
        self._way = way
        self._hop = hop
        self._flushes = flushes
        self._comparable = comparable
        self._unflushed: list[tuple[int, int]] = []

    def note(self, batch: Batch, messages: int, begun_ns: int, done_ns: int) -> None:
        """The stage's code began with so many messages of a batch, and was done with them."""
        if not self._comparable or batch.kind != Kind.EVENTS:
            return
        if 0 < batch.sent_ns <= begun_ns:
            note(self._hop, begun_ns - batch.sent_ns, messages)
        if batch.attempt or not 0 < batch.handed_ns <= done_ns:
            return
        if self._flushes:
            self._unflushed.append((batch.handed_ns, messages))
        else:
            note(self._way, done_ns - batch.handed_ns, messages)

    def flushed(self, now_ns: int) -> None:
        """What was finished so far is safe now."""
        for handed_ns, messages in self._unflushed:
            note(self._way, now_ns - handed_ns, messages)
        self._unflushed.clear()
