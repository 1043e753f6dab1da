"""`LiveChain`: looks at a chain again and again, also while it is stopped and started anew."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from arroyo.config.graph import Chain
from arroyo.config.reader import load_chain
from arroyo.errors import ArroyoError
from arroyo.supervision.reporting.status import StatusReader

from .chain_view import ChainView, ChainWatch


class LiveChain:
    """A chain whose view is asked for again and again.

    Parameters
    ----------
    file
        The chain file. It is read again when another supervisor runs the chain; one with mistakes
        changes nothing.

    Raises
    ------
    ConfigurationError
        The chain file has mistakes.
    UsageError
        The chain can't be seen from here; see `StatusReader`.
    """

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self._file = file
        self._environ = environ
        self._supervisor: int | None = None
        self._take(load_chain(file))

    def _take(self, chain: Chain) -> None:
        self.chain = chain
        self._reader = StatusReader(chain, self._environ)
        self._watch = ChainWatch(chain)

    def look(self) -> ChainView:
        """Return the view of the chain as it is now.

        Raises
        ------
        UsageError
            As above.
        """
        snapshot = self._reader.read()
        supervisor = snapshot.status["supervisor"]
        if supervisor is not None and supervisor != self._supervisor:
            self._supervisor = supervisor
            if self._reload():
                snapshot = self._reader.read()
        return self._watch.add(snapshot)

    def _reload(self) -> bool:
        """Read the chain file again; return True if the chain is another one."""
        with contextlib.suppress(ArroyoError):
            chain = load_chain(self._file)
            if chain != self.chain and chain.name == self.chain.name:
                self._take(chain)
                return True
        return False
