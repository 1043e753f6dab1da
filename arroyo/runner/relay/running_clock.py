"""`RunningClock`: a clock that stops while its thread waits for a processor.

Where more processes work than there are processors, a thread that would be through in a
millisecond may not run for many. By this clock it is quick all the same.
"""

from __future__ import annotations

import os
import threading
import time

ROUGH_S = 0.01
"""The kernel is not asked again so soon where it needn't be known to the moment."""


class RunningClock:
    """The time in s that the thread which makes it has run, slept or waited for something.

    The kernel's count of the rest is read on another thread's request, so `read` is for any thread.
    Where the kernel keeps none, this is `time.monotonic`.
    """

    def __init__(self) -> None:
        path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1
        self._delayed_s = self._read_s = 0.0
        self.read()

    def read(self) -> float:
        """Return the time, to the moment."""
        if self._descriptor >= 0:
            _, delayed_ns, _ = os.pread(self._descriptor, 64, 0).split()
            self._delayed_s = int(delayed_ns) / 1e9
        self._read_s = time.monotonic()
        return self._read_s - self._delayed_s

    def read_roughly(self) -> float:
        """Return a time that may be too late by up to `ROUGH_S`; it takes less time."""
        now = time.monotonic()
        return self.read() if now > self._read_s + ROUGH_S else now - self._delayed_s

    def close(self) -> None:
        """Let go of the kernel's count."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
