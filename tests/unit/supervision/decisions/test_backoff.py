from hypothesis import given
from hypothesis import strategies as st

from arroyo.supervision.decisions.backoff import BACKOFF_LIMIT_S, backoff_delay_s


def test_the_first_restart_is_at_once():
    assert backoff_delay_s(1, 0.5, 0.9) == 0.0


def test_later_restarts_wait_twice_as_long_each_time_up_to_a_limit():
    delays = [backoff_delay_s(failures, 0.5, 0.5) for failures in range(2, 10)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_jitter_spreads_waits_by_a_fifth_to_both_sides():
    assert backoff_delay_s(2, 1.0, 0.0) == 0.8
    assert backoff_delay_s(2, 1.0, 0.999999) < 1.2


@given(st.integers(1, 10**9), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_negative_or_longer_than_the_limit(failures, backoff_s, random):
    assert 0 <= backoff_delay_s(failures, backoff_s, random) <= BACKOFF_LIMIT_S * 1.2
