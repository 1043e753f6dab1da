"""Histograms of durations in a fixed row of words, so that they fit into a status page. PURE.

Each octave is cut into eight buckets of one width, so that a duration is known to 1/8 of itself,
from a microsecond to some minutes, in 224 counts. Counts only grow: two histograms are merged by
adding them up, and what happened between two looks is their difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, MutableSequence, Sequence

_PARTS_BITS = 3
PARTS = 1 << _PARTS_BITS
"""Buckets of one octave."""
_FIRST_BITS = 10
FIRST_NS = 1 << _FIRST_BITS
"""What is shorter counts as this."""
OCTAVES = 28
BUCKETS = PARTS * OCTAVES
LAST_NS = FIRST_NS << OCTAVES
"""What is as long or longer, some 275 s, counts as a little less."""


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
    """Return the shortest duration of a bucket, and the shortest that is too long for it."""
    octave, part = divmod(bucket, PARTS)
    width = (FIRST_NS >> _PARTS_BITS) << octave
    first = (PARTS + part) * width
    return first, first + width


def note(counts: MutableSequence[int] | memoryview, duration_ns: int, messages: int) -> None:
    """Count so many messages that took this long each."""
    counts[bucket_of(duration_ns)] += messages


def merge(histograms: Iterable[Sequence[int]]) -> list[int]:
    """Return one histogram of everything that is counted in several."""
    return [sum(column) for column in zip([0] * BUCKETS, *histograms, strict=True)]


def quantile_s(counts: Sequence[int], share: float) -> float | None:
    """Return the duration that `share` of the messages did not exceed.

    It is the middle of a bucket, so that it is off by 1/16 at most.

    Parameters
    ----------
    counts
        One for each bucket.
    share
        Above 0, up to 1.

    Returns
    -------
    float or None
        In s; None where nothing is counted.
    """
    rank = math.ceil(share * sum(counts))
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if count and seen >= rank:
            return sum(bounds_ns(bucket)) / 2e9
    return None
