"""`HttpProcess`: the process that serves a chain's metrics, from the chain's start to its end.

Nothing depends on it, no stage and no exit code, and it holds nothing that must be put away.
"""

from __future__ import annotations

import random
import selectors
import signal
from collections.abc import Callable
from pathlib import Path

from arroyo.config.http_address import HttpAddress
from arroyo.supervision.decisions.ending import Ending, Evidence, describe_end
from arroyo.supervision.decisions.http_restarts import HttpRestarts
from arroyo.supervision.decisions.replica import is_due

from .processes import StageProcess
from .replica_files import last_error

NAME = "metrics"
"""It logs under this name."""


class HttpProcess:
    """Starts it, and starts it again when it has ended.

    Parameters
    ----------
    selector
        Gets its descriptor. The data is a function without arguments, to be called when the
        descriptor is ready.
    log
        Where it logs why it ends.
    """

    def __init__(
        self,
        address: HttpAddress,
        spawn: Callable[[], StageProcess],
        selector: selectors.BaseSelector,
        log: Path,
        *,
        say: Callable[[str], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._spawn = spawn
        self._selector = selector
        self._log = log
        self._say = say
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._restarts = HttpRestarts(random.random, self._started_at)
        self._process: StageProcess | None = None
        self._reason: tuple[int | None, str] | None = None
        """Status and sentence with which it ended the last time."""
        say(f"metrics: http://{address}/metrics")
        if warning := address.warning:
            say(f"warning: {warning}")

    @property
    def next_at(self) -> float | None:
        """When `start_if_due` has something to do, in s (monotonic); None: not before its end."""
        return self._restarts.due_at

    @property
    def pids(self) -> set[int]:
        """Number of the process, if it runs."""
        return set() if self._process is None else {self._process.pid}

    def start_if_due(self) -> None:
        """Start it if it is time to."""
        now = self._monotonic()
        if not is_due(self._restarts.due_at, now):
            return
        self._started_at = now
        try:
            self._process = self._spawn()
        except OSError as error:
            self._note_end(None, str(error.strerror or error), Evidence())
            return
        self._restarts.started(now)
        self._selector.register(self._process, selectors.EVENT_READ, self._take_end)

    def close(self) -> None:
        """End it."""
        if (process := self._process) is not None:
            self._selector.unregister(process)
            process.send(signal.SIGKILL)
            process.reap()
            self._process = None

    def _take_end(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        self._selector.unregister(process)
        status = process.reap().status
        self._note_end(status, "", Evidence(said=last_error(self._log, process.pid)))

    def _note_end(self, status: int | None, cause: str, evidence: Evidence) -> None:
        """Plan the next start, and say so unless it ended for the same reason before."""
        now = self._monotonic()
        delay_s = self._restarts.ended(status, now)
        reason, self._reason = self._reason, (status, cause or evidence.said)
        if reason == self._reason:
            return
        after_s = now - self._started_at
        text = describe_end(Ending(after_s, status, cause, evidence), f"{after_s:.1f} s")
        again = "starting it again now"
        if delay_s is None:
            again = "not starting it again"
        elif delay_s:
            again = f"trying again in {delay_s:.1f} s"
        self._say(f"metrics {text}; {again}")
