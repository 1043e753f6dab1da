"""Histograms of durations, in a fixed number of words that fit into a status page. PURE.

Each octave has eight buckets of one width, so a duration is known to 1/8 of itself, from a
microsecond to some minutes, in 224 counts. Counts only grow: histograms are merged by adding them,
and what happened between two readings is their difference.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, MutableSequence, Sequence
from itertools import accumulate
from operator import mul

_PARTS_BITS = 3
PARTS = 1 << _PARTS_BITS
"""Buckets of one octave."""
_FIRST_BITS = 10
FIRST_NS = 1 << _FIRST_BITS
"""A shorter duration counts as this."""
OCTAVES = 28
"""A longer duration (275 s) counts as a little less."""
BUCKETS = PARTS * OCTAVES


def bucket_of(duration_ns: int) -> int:
    """Return the bucket that a duration belongs to."""
    if duration_ns < FIRST_NS:
        return 0
    octave = duration_ns.bit_length() - 1 - _FIRST_BITS
    if octave >= OCTAVES:
        return BUCKETS - 1
    # The bits behind the leading one say which part of the octave it is.
    part = (duration_ns >> (octave + _FIRST_BITS - _PARTS_BITS)) - PARTS
    return octave * PARTS + part


def bounds_ns(bucket: int) -> tuple[int, int]:
    """Return the bounds of a bucket; the second one is not in it."""
    octave, part = divmod(bucket, PARTS)
    width = (FIRST_NS >> _PARTS_BITS) << octave
    first = (PARTS + part) * width
    return first, first + width


_MIDDLES_S = [sum(bounds_ns(bucket)) / 2e9 for bucket in range(BUCKETS)]


def note(counts: MutableSequence[int] | memoryview, duration_ns: int, messages: int) -> None:
    """Count `messages` that took `duration_ns` each."""
    counts[bucket_of(duration_ns)] += messages


def merge(histograms: Iterable[Sequence[int]]) -> list[int]:
    """Return the sum of several histograms."""
    return [sum(column) for column in zip([0] * BUCKETS, *histograms, strict=True)]


def cumulative(counts: Sequence[int], octaves: Sequence[int]) -> list[int]:
    """Return how many messages took less than ``FIRST_NS << octave``, for each of the octaves."""
    sums = list(accumulate(counts, initial=0))
    return [sums[octave * PARTS] for octave in octaves]


def sum_s(counts: Sequence[int]) -> float:
    """Return the time of all messages together, in s; it is off by 1/16 at most."""
    total_s: float = sum(map(mul, counts, _MIDDLES_S))
    return total_s


def quantile_s(counts: Sequence[int], share: float) -> float | None:
    """Return the duration in s that `share` of the messages did not exceed; None if there are none.

    It is the middle of a bucket, so it is off by 1/16 at most. `share`: above 0, up to 1.
    """
    sums = list(accumulate(counts))
    if not sums or not sums[-1]:
        return None
    return _MIDDLES_S[bisect_left(sums, math.ceil(share * sums[-1]))]
