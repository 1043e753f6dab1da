"""How long batches get for code that takes lists; the sender is simulated by its own rules."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.protocol.values.flow_limits import (
    BATCH_MESSAGES,
    BATCH_S,
    FIRST_BATCH_MESSAGES,
    messages_at_once,
)
from arroyo.runner.relay.pace import make_pace

LISTS = 150
LAST = 50


def lengths(list_s, message_s, *, takes_lists=True, noise=0.0, most=BATCH_MESSAGES):
    """Lengths of the last batches where messages always wait, and their times."""
    pace = make_pace(takes_lists=takes_lists)
    jitter = random.Random(7)
    count, found = FIRST_BATCH_MESSAGES, []
    for _ in range(LISTS):
        took_s = (list_s + message_s * count) * jitter.uniform(1 - noise, 1 + noise)
        found.append((count, took_s))
        pace.note(count, took_s)
        count = min(most, messages_at_once(pace.message_s))
    return found[-LAST:]


def rate(found):
    return sum(count for count, _ in found) / sum(took_s for _, took_s in found)


def test_single_messages_are_told_of_as_they_take():
    pace = make_pace(takes_lists=False)
    for _ in range(50):
        pace.note(10, 0.02)
    assert pace.message_s == pytest.approx(0.002, rel=0.01)


def test_a_commit_that_takes_longer_than_a_batch_should_gets_long_lists_all_the_same():
    assert lengths(0.05, 1e-6)[-1][0] == BATCH_MESSAGES
    assert lengths(0.05, 1e-6, takes_lists=False)[-1][0] == 1  # else this would come of it


def test_code_that_takes_its_time_over_each_message_gets_short_lists():
    assert sum(count for count, _ in lengths(0.0, 0.02)) / LAST <= 2
    assert max(took_s for _, took_s in lengths(0.0, 0.001)) <= 2 * BATCH_S


def test_a_pace_that_changes_is_followed():
    pace = make_pace(takes_lists=True)
    count = FIRST_BATCH_MESSAGES
    for list_s in (0.05,) * 50 + (0.0,) * 50:
        pace.note(count, list_s + 0.0005 * count)
        count = messages_at_once(pace.message_s)
    assert 15 <= count <= 40


TIMES = st.floats(-6, -0.5).map(lambda power: 10**power)


@given(st.one_of(st.just(0.0), TIMES), TIMES, st.floats(0, 0.2))
def test_lists_are_long_enough_for_the_throughput_and_no_longer(list_s, message_s, noise):
    found = lengths(list_s, message_s, noise=noise)
    best = 1 / (message_s + list_s / BATCH_MESSAGES)
    assert rate(found) > best / 4
    most_s = max(BATCH_S, list_s, message_s)
    assert sum(took_s for _, took_s in found) / LAST < 4 * most_s


@given(st.one_of(st.just(0.0), TIMES), TIMES, st.integers(1, 5))
def test_where_few_messages_wait_what_is_told_stays_within_reason(list_s, message_s, most):
    pace = make_pace(takes_lists=True)
    jitter = random.Random(5)
    for _ in range(LISTS):
        count = jitter.randint(1, most)
        pace.note(count, (list_s + message_s * count) * jitter.uniform(0.9, 1.1))
        usual = max(1, messages_at_once((list_s + message_s) / 2))
        assert messages_at_once(pace.message_s) <= max(8 * most, 4 * usual)
