from typing import get_args

from arroyo.supervision.decisions import actions
from arroyo.supervision.decisions.happening import Happening


def test_every_action_is_one_that_the_loop_carries_out_or_announces():
    declared = {
        each
        for each in vars(actions).values()
        if isinstance(each, type)
        and issubclass(each, Happening)
        and each.__module__ == actions.__name__
    }
    assert declared == set(get_args(actions.Action))
