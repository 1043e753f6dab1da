"""The clocks of the machine."""

import subprocess
import sys
import time

from arroyo.clock import SystemClock

NOW = "from arroyo.clock import SystemClock; print(SystemClock().monotonic())"


def test_the_monotonic_clock_is_that_of_all_processes():
    clock = SystemClock()
    before = clock.monotonic()
    other = subprocess.run([sys.executable, "-c", NOW], capture_output=True, check=True).stdout
    assert before < float(other) < clock.monotonic()


def test_the_wall_clock_is_that_of_people():
    assert abs(SystemClock().wall() - time.time()) < 5.0
