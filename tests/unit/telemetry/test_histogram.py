import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.telemetry.histogram import (
    BUCKETS,
    FIRST_NS,
    OCTAVES,
    bounds_ns,
    bucket_of,
    cumulative,
    merge,
    note,
    quantile_s,
    sum_s,
)

LAST_NS = FIRST_NS << OCTAVES
DURATIONS = st.integers(FIRST_NS, LAST_NS - 1)
SOME = st.lists(st.tuples(DURATIONS, st.integers(1, 300)), min_size=1, max_size=50)


def histogram(entries):
    counts = [0] * BUCKETS
    for duration_ns, messages in entries:
        note(counts, duration_ns, messages)
    return counts


def test_buckets_follow_each_other_without_gaps():
    all_bounds = [bounds_ns(bucket) for bucket in range(BUCKETS)]
    assert all_bounds[0][0] == FIRST_NS
    assert all_bounds[-1][1] == LAST_NS
    assert [end for _, end in all_bounds[:-1]] == [first for first, _ in all_bounds[1:]]


@given(DURATIONS)
def test_a_duration_lies_within_its_bucket_which_is_an_eighth_of_it_at_most(duration_ns):
    first, end = bounds_ns(bucket_of(duration_ns))
    assert first <= duration_ns < end
    assert end - first <= duration_ns / 8


@pytest.mark.parametrize(
    ("duration_ns", "bucket"),
    [(0, 0), (FIRST_NS - 1, 0), (LAST_NS, BUCKETS - 1), (2**62, BUCKETS - 1)],
)
def test_what_is_too_short_or_too_long_goes_into_the_outermost_buckets(duration_ns, bucket):
    assert bucket_of(duration_ns) == bucket


@given(SOME, st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_off_by_half_a_bucket_at_most(entries, share):
    ordered = sorted(each for duration_ns, count in entries for each in [duration_ns] * count)
    true_s = ordered[math.ceil(share * len(ordered)) - 1] / 1e9
    assert quantile_s(histogram(entries), share) == pytest.approx(true_s, rel=1 / 16)


def test_nothing_has_no_quantile():
    assert quantile_s([0] * BUCKETS, 0.5) is None
    assert quantile_s((), 0.5) is None


@given(SOME, SOME)
def test_merged_histograms_count_what_each_has_counted(some, others):
    assert merge([histogram(some), histogram(others)]) == histogram(some + others)
    assert merge([]) == [0] * BUCKETS


@given(SOME)
def test_at_the_bounds_of_octaves_the_counts_below_are_exact(entries):
    octaves = [0, 1, 12, OCTAVES]
    assert cumulative(histogram(entries), octaves) == [
        sum(count for duration_ns, count in entries if duration_ns < FIRST_NS << octave)
        for octave in octaves
    ]


@given(SOME)
def test_the_sum_is_off_by_half_a_bucket_at_most(entries):
    true_s = sum(duration_ns * count for duration_ns, count in entries) / 1e9
    assert sum_s(histogram(entries)) == pytest.approx(true_s, rel=1 / 16 + 1e-9)
