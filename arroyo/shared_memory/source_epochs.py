"""`SourceEpochs`: whether messages of a source's former life may still be in use. PURE.

The Stops of runs that died with a former life come before everything of the next one. So once a run
of the next life has a finished Start, all sinks have got those Stops, and take no more messages of
those runs. An implicit run has no Stop, so its messages may arrive at any time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from arroyo.codec import Batch, Kind

KEPT = 64
"""Epochs of a source that are remembered, so that a late message does not count as a new epoch."""


class _Source(msgspec.Struct):
    heard: dict[int, bool] = {}
    """Epochs in the order of their first message, and whether each had implicit runs."""
    settled: bool = False
    """Whether all epochs but the last are over."""


class SourceEpochs:
    """Epochs of some sources, as one replica below sees them.

    `sources`: ``STAGE.R`` of the listeners; each of their epochs is a life.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self._sources = {source: _Source() for source in sources}

    def note(self, batch: Batch) -> None:
        """Note the epoch of a batch."""
        source = self._sources.get(batch.source)
        if source is None or batch.kind != Kind.EVENTS:
            return
        heard = source.heard
        if batch.epoch not in heard:
            heard[batch.epoch] = False
            source.settled = False
            if len(heard) > KEPT:
                del heard[next(iter(heard))]
        if batch.implicit:
            heard[batch.epoch] = True
        elif not source.settled and batch.frontier >= batch.base:
            source.settled = batch.epoch == next(reversed(heard))

    def is_over(self, source: str, epoch: int) -> bool:
        """Return True if no sink takes messages of that epoch any more."""
        known = self._sources.get(source)
        if known is None or not known.settled:
            return False
        return epoch != next(reversed(known.heard)) and not known.heard.get(epoch, True)
