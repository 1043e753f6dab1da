import pytest

from arroyo.supervision.decisions.http_restarts import HttpRestarts
from arroyo.supervision.decisions.process_ends import STABLE_S


@pytest.fixture
def restarts():
    return HttpRestarts(lambda: 0.5, 100.0)


def delays(restarts, statuses, lived_s=0.1):
    now, told = 100.0, []
    for status in statuses:
        restarts.started(now)
        now += lived_s
        told.append(restarts.ended(status, now))
        now = restarts.due_at or now
    return told


def test_it_is_started_with_the_chain_and_while_it_runs_not_again(restarts):
    assert restarts.due_at == 100.0
    restarts.started(101.0)
    assert restarts.due_at is None


@pytest.mark.parametrize("status", [-9, 0, 1, 70, 75])
def test_it_comes_back_at_once_then_with_growing_waits_however_it_ends(restarts, status):
    assert delays(restarts, [status] * 5) == [0.0, 0.5, 1.0, 2.0, 4.0]


def test_one_that_has_run_for_long_comes_back_at_once(restarts):
    assert delays(restarts, [1] * 3, lived_s=STABLE_S) == [0.0] * 3


def test_one_that_can_not_be_started_is_not_tried_without_a_pause(restarts):
    assert [restarts.ended(None, 100.0) for _ in range(3)] == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("status", [64, 78])
def test_what_is_wrongly_configured_does_not_come_back(restarts, status):
    restarts.started(100.0)
    assert (restarts.ended(status, 100.1), restarts.due_at) == (None, None)
