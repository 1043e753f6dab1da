from typing import get_args

from arroyo.links import link_events


def test_every_event_of_links_is_one_that_shells_expect():
    declared = {
        each
        for each in vars(link_events).values()
        if isinstance(each, type) and each.__module__ == link_events.__name__
    }
    assert declared == set(get_args(link_events.LinkEvent))
