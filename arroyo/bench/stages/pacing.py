"""Pace of the sources of measured chains."""

from __future__ import annotations

import time
from collections.abc import Iterator


def pace(events: int, interval_s: float) -> Iterator[int]:
    """Yield the index of each event when it is due; late ones come at once.

    At high rates an interval is shorter than a process can sleep, so a few come at a time.
    """
    begin = time.monotonic()
    for index in range(events):
        wait_s = begin + index * interval_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        yield index
