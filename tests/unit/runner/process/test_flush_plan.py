import pytest

from arroyo.runner.process.flush_plan import FLUSH_BYTES, FLUSH_S, FlushPlan


@pytest.fixture
def plan():
    return FlushPlan()


def test_nothing_is_due_before_anything_was_published(plan):
    assert not plan.is_due(1e9)


def test_what_was_published_is_flushed_soon(plan):
    plan.note(5.0, 100)
    assert not plan.is_due(5.0 + 0.9 * FLUSH_S)
    assert plan.is_due(5.0 + FLUSH_S)


def test_what_comes_later_does_not_put_it_off(plan):
    plan.note(5.0, 100)
    plan.note(5.0 + 0.9 * FLUSH_S, 200)
    assert plan.due == 5.0 + FLUSH_S


def test_much_is_flushed_at_once(plan):
    plan.note(5.0, FLUSH_BYTES - 1)
    assert not plan.is_due(5.0)
    plan.note(5.01, FLUSH_BYTES)
    assert plan.is_due(5.01)


def test_what_was_flushed_does_not_count_again(plan):
    plan.note(5.0, FLUSH_BYTES)
    plan.note_flushed(FLUSH_BYTES)
    assert plan.due is None
    plan.note(6.0, 2 * FLUSH_BYTES - 1)
    assert not plan.is_due(6.0)
    plan.note(6.0, 2 * FLUSH_BYTES)
    assert plan.is_due(6.0)
