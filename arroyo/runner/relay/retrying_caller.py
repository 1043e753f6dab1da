"""`RetryingCaller`: calls a stage's code, and again while a broker is away, where it may wait.

Only a chain in one process waits here. A replica with a process of its own does not: the error ends
the process, with exit code 75 if something outside is away, and the supervisor restarts it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from arroyo.errors import ArroyoError
from arroyo.messages import Message
from arroyo.protocol.values.deliveries import Outcome, Work
from arroyo.runner.process.stage_context import StageContext

from .link_thread import LinkThread, NoLinkThread


class RetryingCaller:
    """Calls the stage's code while the link thread looks after the links.

    `StageContext.endure` decides what follows where it fails: the end of the process, or a pause
    and another try, or the chain goes on without the message.

    `restore`: makes all messages of the batch again what they were when they came.
    """

    def __init__(
        self,
        replica: StageContext,
        link_thread: LinkThread | NoLinkThread,
        restore: Callable[[], None],
    ) -> None:
        self.link_thread = link_thread
        self._replica = replica
        self._restore = restore
        self._failure: ArroyoError | None = None
        """What the next message has failed with; those before it go on first."""

    def call(
        self,
        code: Callable[[Sequence[Work]], Any],
        work: Sequence[Work] = (),
        do_without: Callable[[Message], Outcome] | None = None,
        results: Any = (),
    ) -> Any:
        """Return what the code returns; None where the chain goes on without that.

        Before a shared thread waits or fails, what came of the messages before goes on: then this
        returns `results` so far, and the next call begins with the failure.

        Parameters
        ----------
        do_without
            Tells what becomes of the first message where the chain goes on without it; None: there
            are no messages.
        results
            Has what became of those before.

        Raises
        ------
        ArroyoError
            It failed, and nobody waits.
        """
        failure = None
        if work:
            failure, self._failure = self._failure, None
        for attempt in itertools.count():
            if failure is None:
                try:
                    with self.link_thread:
                        return code(work)
                except ArroyoError as error:
                    if results and self._replica.shares_thread:
                        self._failure = error
                        return results.so_far()
                    failure = error
            goes_on, failure = self._replica.endure(failure, attempt), None
            if work:
                self._restore()  # the stage's code may have changed them
            if goes_on:
                break
        return None if do_without is None else [do_without(work[0][2])]
