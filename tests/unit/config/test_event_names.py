from typing import get_args

from arroyo.config.event_names import EventName


def test_a_name_is_used_once_and_can_be_typed():
    names = get_args(EventName)
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalpha() and name.islower() for name in names)
