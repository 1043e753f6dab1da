"""How long an ended replica waits for its restart. PURE.

The first restart is immediate; further ones wait `backoff_s`, doubled each time up to 30 s, with
jitter so that replicas of one stage do not come back in step.
"""

from __future__ import annotations

BACKOFF_LIMIT_S = 30.0
JITTER = 0.2


def backoff_delay_s(failures: int, backoff_s: float, random: float) -> float:
    """Time to wait before restart number `failures` (1: the first, at once), in s.

    `random` in [0, 1) spreads the waits by ±20 %.
    """
    if failures <= 1:
        return 0.0
    # The exponent is bounded too: a float overflows after a thousand doublings.
    exponential = min(backoff_s * 2.0 ** min(failures - 2, 64), BACKOFF_LIMIT_S)
    return exponential * (1.0 + JITTER * (2.0 * random - 1.0))
