"""`WindowLock`: a lock around what a listener's threads and the main thread share."""

from __future__ import annotations

import threading
import time

from arroyo.codec import Body

_LOOK_S = 0.00002


class WindowLock:
    """A lock that a thread enters to read or change the window; the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self.waiting = 0
        """Number of threads in `wait`."""
        self.slot: list[Body] = []
        """The body that grows, for who only appends to it: `pop` takes it out, `append` puts it
        back again, each in one step whatever other threads do. While it is out there is nothing to
        pop."""
        self.growing: Body | None = None
        """That body; None where none may grow. Changed only by who has entered."""

    def __enter__(self) -> None:
        self._lock.acquire()
        self._take_out()

    def __exit__(self, *_: object) -> None:
        self._put_back()
        self._lock.release()

    def wait(self) -> None:
        """Let other threads in until one calls `notify_all`; call it with the lock held."""
        self.waiting += 1
        self._put_back()
        self._room.wait()
        self._take_out()
        self.waiting -= 1

    def notify_all(self) -> None:
        """Wake the threads in `wait`; call it with the lock held."""
        self._room.notify_all()

    def _take_out(self) -> None:
        while self.growing is not None:
            try:
                self.slot.pop()
            except IndexError:
                # Somebody writes into it just now, which takes a microsecond.
                time.sleep(_LOOK_S)
            else:
                return

    def _put_back(self) -> None:
        if self.growing is not None:
            self.slot.append(self.growing)
