"""Retries while a server is away: for how long, and after which waits."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, TypeVar

from arroyo.errors import ArroyoError, UnavailableError

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0
"""The wait between two attempts doubles from the one to the other, in s."""

_Result = TypeVar("_Result")


class Outage:
    """Outages of a server, each from its first failed attempt to `end()`.

    `retry_for_s`: an outage that lasts longer is hopeless, in s.
    """

    def __init__(self, retry_for_s: float) -> None:
        self._retry_for_s = retry_for_s
        self._since: float | None = None
        self._wait_s = FIRST_WAIT_S

    def note(self) -> bool:
        """Note that an attempt has failed; return True if it is the first one of an outage."""
        if self._since is not None:
            return False
        self._since = time.monotonic()
        return True

    def end(self) -> None:
        """Note that an attempt has succeeded."""
        self._since, self._wait_s = None, FIRST_WAIT_S

    def is_hopeless(self) -> bool:
        """Return True if it has lasted for `retry_for_s`. From any thread."""
        since = self._since  # another thread may end it meanwhile
        return since is not None and time.monotonic() - since > self._retry_for_s

    def next_wait_s(self) -> float:
        """Return how long to wait before the next attempt, in s."""
        wait_s, self._wait_s = self._wait_s, min(2 * self._wait_s, LONGEST_WAIT_S)
        return wait_s


class RetriedServer(ABC):
    """A server, with a client library whose errors tell whether to try again."""

    failed: ClassVar[tuple[type[BaseException], ...]]
    """What the library raises when a command fails."""

    @abstractmethod
    def explain(self, error: BaseException) -> ArroyoError:
        """Return an error that says what the library's error means, and what to do.

        It is an UnavailableError if the same command may work a little later.
        """

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the library raises within the block into such errors."""
        try:
            yield
        except self.failed as error:
            raise self.explain(error) from error

    def is_final(self, error: BaseException, outage: Outage) -> bool:
        """Return True if no further attempt would help."""
        return outage.is_hopeless() or not isinstance(self.explain(error), UnavailableError)

    def insist(
        self,
        command: Callable[[], _Result],
        retry_for_s: float,
        report_waiting: Callable[[str], bool],
    ) -> _Result:
        """Call `command`, again and again if need be for `retry_for_s`, and return its result.

        It ends earlier, with the explained error of the last attempt, if no further one would help,
        or if `report_waiting`, which is told what is waited for, says that the stage was asked to
        stop. An attempt that failed may have had its effect all the same.
        """
        outage = Outage(retry_for_s)
        while True:
            with self.explained():
                try:
                    return command()
                except self.failed as error:
                    outage.note()
                    why = str(self.explain(error))
                    if self.is_final(error, outage) or report_waiting(why):
                        raise
            time.sleep(outage.next_wait_s())
