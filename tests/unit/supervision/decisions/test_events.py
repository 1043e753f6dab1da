from typing import get_args

from supervised_histories import declared_in

from arroyo.supervision.decisions import events


def test_every_event_is_one_that_the_state_machine_takes():
    # Parameters are settled beside the machine, by `ParameterOrders`.
    assert declared_in(events) - {events.ParametersTaken} == set(get_args(events.Event))
