"""`WindowRuns`: the runs of what a listener hands over, and what their Stops tell of drops."""

from __future__ import annotations

from collections import deque

from arroyo.codec import Encoded, Kind, MessageCodec
from arroyo.messages import Message, Stop
from arroyo.protocol.source.input import InputBatch, MakeStop
from arroyo.protocol.values.run_totals import RunTotals, with_totals

from .window_batch import WindowBatch, WindowRun


class WindowRuns:
    """Tells of which run each batch is, and which runs the source has without their Stop."""

    def __init__(self, codec: MessageCodec) -> None:
        self._codec = codec
        self.current = WindowRun()
        """The run of what is handed over next."""
        self._open: deque[WindowRun] = deque()

    # Where messages come in

    def note(self, kind: Kind) -> WindowRun:
        """Return the run of a batch that begins."""
        if kind is Kind.START:
            self.current = WindowRun(implicit=False)
        run = self.current
        if kind is Kind.STOP:
            self.current = WindowRun()
        return run

    # Where they leave

    def take(self, batch: WindowBatch) -> InputBatch:
        """Return what the source gets of a batch."""
        if batch.kind is Kind.STOP:
            if self._open:
                self._open.pop()
            stop, run = batch.message, batch.run
            return InputBatch(
                Kind.STOP,
                tokens=batch.tokens,
                size=batch.size,
                make_stop=lambda totals: self._encode_stop(stop, run, totals),
            )
        if batch.kind is Kind.START:
            if self._open and self._open[-1].implicit:
                self._open.pop()  # it ends without a Stop
            self._open.append(batch.run)
        elif not self._open:
            self._open.append(batch.run)
        return InputBatch(
            batch.kind,
            batch.items,
            batch.tokens,
            batch.size,
            batch.keys or None,
            handed_ns=batch.handed_ns,
        )

    def early_stop(self, reason: str) -> MakeStop:
        """Return what makes the Stop of the oldest open run, which its listener has not closed.

        No reason: the run began without a Start, and needs no Stop to be over.
        """
        # A run of the life before may be open of which the listener has handed over nothing.
        run = self._open[0] if self._open else self.current
        if reason and self._open:
            self._open.popleft()
        stop = Stop({"reason": reason} if reason else {})
        return lambda totals: self._encode_stop(stop, run, totals)

    def _encode_stop(self, stop: Message, run: WindowRun, totals: RunTotals) -> Encoded:
        totals.note_dropped(run.dropped)
        return self._codec.encode(with_totals(stop, totals))
