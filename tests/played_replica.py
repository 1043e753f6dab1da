"""A replica without a process of its own: the test's holds its lock and its status page."""

import contextlib
import os
import time

from arroyo.control.locks import Lock
from arroyo.telemetry.histogram import note
from arroyo.telemetry.status_page import StatusPage
from arroyo.telemetry.status_words import Phase


@contextlib.contextmanager
def by_hand(run_directory, name, phase=Phase.IDLE, ready=True, latencies_ns=(), **counters):
    """A replica that runs without a supervisor; this process plays it."""
    lock = Lock.acquire(run_directory.lock(name))
    page = StatusPage(run_directory.status_page(name), os.getpid(), 42)
    page.enter(phase, time.monotonic_ns())
    page.set("ready_since_ns", time.monotonic_ns() if ready else 0)
    for field, value in counters.items():
        page.set(field, value)
    for latency_ns in latencies_ns:
        note(page.histogram("latency"), latency_ns, 1)
    try:
        yield page
    finally:
        page.close()
        lock.release()
