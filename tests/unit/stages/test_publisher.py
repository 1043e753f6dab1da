"""What a publisher's class has to define, and what it need not."""

import pytest

from arroyo.messages import Event, Start, Stop
from arroyo.stages import Publisher


class Together(Publisher):
    def __init__(self):
        self.lists = []

    def publish_batch(self, messages):
        self.lists.append(messages)


def test_one_without_publish_can_not_be_made():
    with pytest.raises(TypeError, match=r"abstract method '?publish"):
        Publisher()


def test_one_that_takes_lists_gets_a_single_event_as_a_list_and_no_start_and_stop():
    publisher, event = Together(), Event({"n": 1})
    for message in (Start(), event, Stop()):
        publisher.publish(message)
    assert publisher.lists == [[event]]


def test_what_it_opens_and_closes_is_up_to_it():
    publisher = Together()
    publisher.open()
    publisher.close()
    assert not publisher.idempotent
