"""`SourceEpochs`: whether anybody still works on what a source sent in a former life of it. PURE.

The Stops of runs that died with a former life stand before everything of the next one. So once a
run of that has a finished Start, all sinks have heard those Stops, and take nothing more that
comes of the runs. What began without a Start has no Stop either, and may arrive at any time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from arroyo.codec import Batch, Kind

KEPT = 64
"""So many lives of a source are remembered: what comes late must not be taken for a new one."""


class _Source(msgspec.Struct):
    heard: dict[int, bool] = {}
    """Epochs in the order in which they were heard of, and whether events came without a Start."""
    settled: bool = False
    """Whether all but the last of them are over."""


class SourceEpochs:
    """The lives of each of some sources, as one replica below hears of them.

    Parameters
    ----------
    sources
        ``STAGE.R`` of those whose epochs are lives.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self._sources = {source: _Source() for source in sources}

    def note(self, batch: Batch) -> None:
        """Note what a batch tells of its source."""
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
        """Whether nobody takes anything more of that life."""
        known = self._sources.get(source)
        if known is None or not known.settled:
            return False
        return epoch != next(reversed(known.heard)) and not known.heard.get(epoch, True)
