import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.supervision.live.last_minute import BARS, PART_S, PARTS, LastMinute, sparkline


def minute_of(*values):
    """Values that came a second after each other."""
    minute = LastMinute()
    for time_s, value in enumerate(values):
        minute.add(float(time_s), value)
    return minute.means


def test_a_minute_that_has_just_begun_is_empty_but_for_its_end():
    assert minute_of(6.0, 8.0, 10.0) == (None,) * 19 + (8.0,)


def test_what_is_older_than_a_minute_is_forgotten():
    means = minute_of(*[1.0] * 60, *[5.0] * 30)
    assert means == (1.0,) * 10 + (5.0,) * 10


def test_where_nothing_is_known_there_is_a_gap():
    assert minute_of(1.0, 1.0, 1.0, None, None, None, 3.0)[-3:] == (1.0, None, 3.0)


def test_before_the_first_value_nothing_is_known():
    assert LastMinute().means == (None,) * PARTS


def test_an_hour_without_a_look_leaves_nothing_behind():
    minute = LastMinute()
    minute.add(0.0, 1.0)
    minute.add(3600.0, 2.0)
    assert minute.means == (None,) * 19 + (2.0,)


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ((), ""),
        ((None, 0.0, None), " ▁ "),
        ((0.0, 1.0, 2.0, 4.0), "▁▂▄▇"),
        ((7.0, 7.0), "▇▇"),
    ],
)
def test_the_largest_value_is_a_full_bar(values, bars):
    assert sparkline(values) == bars


@given(st.lists(st.tuples(st.floats(0, 1e7), st.none() | st.floats(0, 1e12)), max_size=200))
def test_any_minute_can_be_drawn(values):
    minute = LastMinute()
    for time_s, value in values:
        minute.add(time_s, value)
    drawn = sparkline(minute.means)
    assert len(drawn) == PARTS
    assert set(drawn) <= {*BARS, " "}


def test_a_minute_has_sixty_seconds():
    assert PARTS * PART_S == 60
