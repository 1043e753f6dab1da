"""`SupervisorWatch`: a thread that notices the supervisor's death, and feeds systemd's watchdog.

It is a thread of its own because the main one may be in a user's `process()` for minutes. So it
proves that the process lives, and not that its stage gets on.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

from arroyo.control.notify import Notifier

ORPHAN_EXIT_S = 8.0
"""A stage whose supervisor has died ends after this time at the latest, in s."""
ORPHAN_EXIT_CODE = 75
UNSAID_S = 1.0


class SupervisorWatch:
    """Watches the lifeline and speaks to the watchdog until `close`.

    Parameters
    ----------
    lifeline
        Descriptor that becomes readable when the supervisor dies; None: there is none.
    orphaned
        Called once, from the watch's thread, when the supervisor has died.
    abandoned
        Called from there too, where the stage has not ended by itself since: the process ends.
    """

    def __init__(
        self,
        lifeline: int | None,
        notifier: Notifier,
        orphaned: Callable[[], None],
        abandoned: Callable[[], None],
    ) -> None:
        self._lifeline = lifeline
        self._notifier = notifier
        self._orphaned = orphaned
        self._abandoned = abandoned
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="arroyo-watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._stop, select.POLLIN)
        if self._lifeline is not None:
            poller.register(self._lifeline, select.POLLIN | select.POLLHUP)
        # Without a watchdog too: a word that a full queue refused is said again with the next.
        interval_s = self._notifier.watchdog_interval_s or UNSAID_S
        while True:
            ready = dict(poller.poll(interval_s * 1000))
            if self._stop in ready:
                return
            if self._lifeline is not None and self._lifeline in ready:
                self._end_as_orphan()
                return
            self._notifier.watchdog()

    def _end_as_orphan(self) -> None:
        self._orphaned()
        poller = select.poll()
        poller.register(self._stop, select.POLLIN)
        if not poller.poll(ORPHAN_EXIT_S * 1000):
            # Nobody is left who could end us, and the user's code may never return.
            self._abandoned()
            os._exit(ORPHAN_EXIT_CODE)

    def close(self) -> None:
        """End the thread."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
