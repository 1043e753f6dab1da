"""`LiveChain`: looks at a chain again and again, also while it is stopped and started anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from arroyo.config.graph import Chain
from arroyo.supervision.reporting.chain_reader import ChainReader

from .chain_view import ChainView, ChainWatch


class LiveChain:
    """A chain whose view is asked for again and again.

    Parameters and errors are those of `ChainReader`.
    """

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self._reader = ChainReader(file, environ)
        self._watch = ChainWatch(self.chain)

    @property
    def chain(self) -> Chain:
        """The chain as it was looked at last."""
        return self._reader.chain

    def look(self) -> ChainView:
        """Return the view of the chain as it is now.

        UsageError: as in `ChainReader`.
        """
        before = self.chain
        snapshot = self._reader.read()
        if self.chain is not before:
            self._watch = ChainWatch(self.chain)
        return self._watch.add(snapshot)
