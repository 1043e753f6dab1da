"""An operator's publishers, and what a class has to define."""

import pytest

from arroyo.messages import Event
from arroyo.stages import Operator, Publisher


class Plain(Operator):
    def __init__(self):
        pass  # users forget super().__init__(), and may

    def process(self, message):
        return message


class Kept(Publisher):
    def __init__(self):
        self.messages = []

    def publish(self, message):
        self.messages.append(message)


def test_what_is_published_goes_to_every_publisher_once():
    operator, one, two = Plain(), Kept(), Kept()
    for publisher in (one, two, one):
        operator.add_publisher(publisher)
    message = Event({"index": 0})
    operator.publish(message)
    operator.remove_publisher(two)
    operator.publish(message)
    assert (len(one.messages), len(two.messages)) == (2, 1)


def test_removing_what_was_never_added_is_an_error():
    with pytest.raises(ValueError, match="is not a publisher of"):
        Plain().remove_publisher(Kept())


def test_one_without_process_can_not_be_made():
    with pytest.raises(TypeError, match=r"abstract method '?process"):
        Operator()
