from typing import get_args

from arroyo.supervision.decisions import events
from arroyo.supervision.decisions.happening import Happening


def test_every_event_is_one_that_the_state_machine_takes():
    declared = {
        each
        for each in vars(events).values()
        if isinstance(each, type)
        and issubclass(each, Happening)
        and each.__module__ == events.__name__
    }
    # Parameters are settled beside the machine, by `ParameterOrders`.
    assert declared - {events.ParametersTaken} == set(get_args(events.Event))
