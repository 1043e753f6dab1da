"""`LinkThread`: a second thread that serves a stage's links while the stage's code works.

The code may take minutes over one message. Meanwhile a thread of its own hands on what came of the
messages before, hears those below, and keeps the status page up to date.

Links and state machines belong to whoever has the turn. The main thread has it all the time, but
for the stage's code: each time that begins, a timer is set, and put off when it begins again. So
the thread sleeps as long as all is quick; a batch costs one call of the system, a message nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

FIRST_LOOK_S = 0.005
"""The first look is after this time. Where more processes work than there are processors, a batch
of quick messages may take most of it, and should not wake a thread."""
SWITCH_S = 0.001
"""The longest that it waits for the interpreter while Python code of the stage runs. No other
thread waits for that, so the short interval costs nothing while all is quick."""


class LinkThread:
    """Serves the links within ``with link_thread:``, where the stage's code is called.

    `look`: does what there is to do, and returns in how many s to look again. Is told whether this
    is the first look since the code began.
    """

    def __init__(self, look: Callable[[bool], float]) -> None:
        self._look = look
        self._turn = threading.Lock()
        self._turn.acquire()
        self._is_first = True
        self._error: BaseException | None = None
        self._timer = _Timer()
        self._put_off = self._timer.setter(FIRST_LOOK_S)
        self._closing = False
        sys.setswitchinterval(min(SWITCH_S, sys.getswitchinterval()))
        self._thread = threading.Thread(target=self._run, name="arroyo-links", daemon=True)
        self._thread.start()

    def __enter__(self) -> None:
        self._is_first = True
        self._put_off()
        self._turn.release()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._turn.acquire()
        if self._error is not None and error is None:
            raise self._error  # whatever it was, the links are no longer looked after

    def _run(self) -> None:
        while True:
            self._timer.wait()
            if self._closing:
                return
            # Else the code has ended; the timer is set when it begins again.
            if self._turn.acquire(blocking=False):
                try:
                    first, self._is_first = self._is_first, False
                    self._timer.setter(self._look(first))()
                except BaseException as error:  # noqa: BLE001  (it is raised in the main thread)
                    self._error = error
                    return
                finally:
                    self._turn.release()

    def close(self) -> None:
        """End the thread."""
        self._closing = True
        self._timer.setter(0.0)()
        self._thread.join()
        self._timer.close()


class NoLinkThread(contextlib.nullcontext[None]):
    """Takes the place of an `LinkThread` where several stages share one thread: it does nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Timer:
    """A timer of the kernel that one thread waits for and others set, without waking it.

    Python has it as `os.timerfd_create` from 3.13 on.
    """

    def __init__(self) -> None:
        library = ctypes.PyDLL(None, use_errno=True)  # which keeps the interpreter: it is quick
        self._descriptor = library.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "no timer can be had")
        self._settime = library.timerfd_settime
        self._settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    def setter(self, seconds: float) -> Callable[[], object]:
        """Return what has it expire in so many seconds, and not before; for any thread."""
        whole = int(seconds)
        # Its period, which is none, and the time until it expires: s and ns of each.
        times = (ctypes.c_long * 4)(0, 0, whole, max(1, int((seconds - whole) * 1e9)))
        return functools.partial(self._settime, self._descriptor, 0, times, None)

    def wait(self) -> None:
        """Wait until it has expired."""
        os.read(self._descriptor, 8)

    def close(self) -> None:
        os.close(self._descriptor)
