"""The same pace for every source that is measured."""

from __future__ import annotations

import time
from collections.abc import Iterator


def pace(events: int, interval_s: float) -> Iterator[int]:
    """Yield the index of each event when it is due; those that are late come at once.

    No process sleeps as short as an interval at full rate, so they come a few at a time then.
    """
    begin = time.monotonic()
    for index in range(events):
        wait_s = begin + index * interval_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        yield index
