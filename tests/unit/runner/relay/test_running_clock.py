import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from arroyo.runner.relay.running_clock import ROUGH_S, RunningClock


def test_it_goes_on_while_the_thread_sleeps():
    clock = RunningClock()
    before = clock.read()
    time.sleep(0.02)  # whether this counts is the question
    assert 0.015 < clock.read() - before < 1.0
    clock.close()


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(),
    reason="run on a kernel with CONFIG_SCHED_INFO, which counts how long a thread waits",
)
def test_it_stands_still_while_the_thread_waits_for_a_processor():
    """Of two threads on one processor each runs half of the time, in the kernel's own turns."""
    allowed = os.sched_getaffinity(0)
    one = {min(allowed)}
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        os.sched_setaffinity(other.pid, one)
        os.sched_setaffinity(0, one)
        try:
            clock = RunningClock()
            before, began = clock.read(), time.monotonic()
            spin(1.0)
            ran, took = clock.read() - before, time.monotonic() - began
            clock.close()
        finally:
            os.sched_setaffinity(0, allowed)
            other.kill()
    assert ran < 0.8 * took


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_a_rough_reading_is_late_by_little():
    clock = RunningClock()
    for _ in range(100):
        rough = clock.read_roughly()
        assert rough <= clock.read() + ROUGH_S
        time.sleep(0.001)  # so that some readings are asked of the kernel, and others are not
    clock.close()


def test_another_thread_reads_that_of_the_thread_that_made_it():
    clock = RunningClock()
    read = []
    thread = threading.Thread(target=lambda: read.append(clock.read()))
    thread.start()
    thread.join()
    assert abs(clock.read() - read[0]) < 1.0
    clock.close()


def test_without_the_kernels_count_it_is_the_usual_clock(monkeypatch):
    def refuse(path, flags):
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "open", refuse)
    clock = RunningClock()
    assert abs(clock.read() - time.monotonic()) < 1.0
    clock.close()
