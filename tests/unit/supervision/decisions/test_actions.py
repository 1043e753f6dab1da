from typing import get_args

from supervised_histories import declared_in

from arroyo.supervision.decisions import actions


def test_every_action_is_one_that_the_loop_carries_out_or_announces():
    assert declared_in(actions) == set(get_args(actions.Action))
