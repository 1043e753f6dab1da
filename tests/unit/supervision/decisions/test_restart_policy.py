import pytest
from supervised_histories import make_chain, name_of

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions.actions import GaveUp, WillRestart, WillRetry
from arroyo.supervision.decisions.ending import Ending
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.replicas import Replicas
from arroyo.supervision.decisions.restart_policy import RETRY_FAILED_S, RestartPolicy

LIMITS = Supervision(max_restarts=2, chain_max_restarts=3)


@pytest.fixture
def replicas():
    return Replicas(make_chain({"a": (), "b": ("a",)}, LIMITS, b={"replicas": 2}))


@pytest.fixture
def policy(replicas):
    return RestartPolicy(replicas, lambda: 0.5)


def plan(policy, replicas, name="b.0", status=1, now=10.0):
    return policy.plan(replicas[name_of(name)], Ending(1.0, status), now)


def test_a_replica_comes_back_at_once_then_later_then_rarely(policy, replicas):
    first, second, third = (plan(policy, replicas) for _ in range(3))
    assert (first.delay_s, second.delay_s) == (0.0, 0.5)
    assert isinstance(third, GaveUp) and third.retry_s == RETRY_FAILED_S
    assert replicas[name_of("b.0")].state is State.FAILED


def test_ends_all_over_the_chain_are_too_many_as_well(policy, replicas):
    names = ("a.0", "b.0", "b.1")
    assert all(isinstance(plan(policy, replicas, name), WillRestart) for name in names)
    assert isinstance(plan(policy, replicas, "a.0"), GaveUp)


def test_waiting_for_something_outside_is_never_given_up(policy, replicas):
    plans = [plan(policy, replicas, status=75) for _ in range(50)]
    assert all(isinstance(each, WillRetry) for each in plans)
    assert replicas[name_of("b.0")].failures == 0


def test_a_chain_that_drains_tries_again_soon(policy, replicas):
    replicas.stopping = True
    assert max(plan(policy, replicas, status=75).delay_s for _ in range(9)) == 1.0


def test_a_process_that_could_not_be_started_is_not_tried_again_at_once(policy, replicas):
    assert plan(policy, replicas, status=None).delay_s == 0.5


def test_a_wrong_configuration_makes_the_rest_useless_until_all_has_worked(policy, replicas):
    ending = Ending(1.0, 78)
    assert policy.makes_useless(ending)
    assert not plan(policy, replicas, status=78).until_changed
    replicas.was_ready = True
    assert not policy.makes_useless(ending)
    given_up = plan(policy, replicas, status=78)
    assert given_up.until_changed and given_up.retry_s is None
