"""`ChainChecks`: reads the chain file of a running chain anew, and has it checked by a child.

What is checked is a copy, in the run directory: the stages read it in turn, whatever becomes of the
file meanwhile.
"""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from arroyo.config.graph import Chain
from arroyo.config.reader import load_chain, read_text
from arroyo.config.run_directory import RunDirectory
from arroyo.errors import ArroyoError, ConfigurationError
from arroyo.runner.user_code.checking import TIMEOUT_S, CheckingChild


class Checked(NamedTuple):
    """A version of the chain file; None and its mistakes, if it has any."""

    chain: Chain | None
    mistakes: tuple[str, ...] = ()


class ChainChecks:
    """Checks the chain file, one version at a time.

    Parameters
    ----------
    selector
        Gets the descriptor of the child; its data is a function without arguments, to be called
        when the descriptor is ready.
    environ
        Has the variables that the chain file names.
    """

    def __init__(
        self,
        path: Path,
        run_directory: RunDirectory,
        selector: selectors.BaseSelector,
        monotonic: Callable[[], float],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._path = path
        self._run_directory = run_directory
        self._selector = selector
        self._monotonic = monotonic
        self._environ = environ
        self._child: CheckingChild | None = None
        self._copy = path
        self._take: Callable[[Checked], None] = lambda _: None
        self._until = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a check is under way."""
        return self._child is not None

    @property
    def pids(self) -> set[int]:
        """Number of the child, if there is one."""
        return set() if self._child is None else {self._child.pid}

    @property
    def next_at(self) -> float | None:
        """When `expire` has something to do, in s (monotonic)."""
        return None if self._child is None else self._until

    def begin(self, take: Callable[[Checked], None]) -> None:
        """Check the file as it is now; `take` gets what was found, once it is."""
        self._take = take
        try:
            self._copy = self._run_directory.keep_version(read_text(self._path))
            child = CheckingChild(self._path, copy=self._copy)
        except ConfigurationError as error:
            take(Checked(None, tuple(error.problems)))
        except ArroyoError as error:
            take(Checked(None, (str(error),)))
        except OSError as error:
            take(Checked(None, (f"{self._path} can't be checked: {error.strerror}",)))
        else:
            self._child, self._until = child, self._monotonic() + TIMEOUT_S
            self._selector.register(child, selectors.EVENT_READ, self._end)

    def expire(self) -> None:
        """Give up a check that takes too long."""
        if self._child is not None and self._monotonic() >= self._until:
            self._end()

    def close(self) -> None:
        """End a check that is under way."""
        if (child := self._child) is not None:
            self._child = None
            self._selector.unregister(child)
            child.close()

    def _end(self) -> None:
        child = self._child
        assert child is not None
        child.wait(0.0)
        mistakes = tuple(child.problems())
        self.close()
        try:
            chain = None if mistakes else load_chain(self._path, self._environ, copy=self._copy)
        except ConfigurationError as error:
            chain, mistakes = None, tuple(error.problems)
        self._take(Checked(chain, mistakes))
