import pytest

from arroyo.messages import Event
from arroyo.stages import IteratingListener, Listener, Operator, PollingListener, Publisher


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


class HeldByFolds:
    """Stands for the chain; it tells `listener` to stop after so many messages."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.given = []
        self.listener = None

    def process(self, message, token=None):
        self.given.append((message.metadata["index"], token))
        if len(self.given) == self.stop_after:
            self.listener.stop()


class Letters(IteratingListener):
    def messages(self):
        yield Event({"index": 0})
        yield Event({"index": 1}), "token"
        yield Event({"index": 2})


class Polled(PollingListener):
    def __init__(self, operator):
        super().__init__(operator)
        self.index = -1

    def poll(self, timeout_s):
        self.index += 1
        return (Event({"index": self.index}), self.index) if self.index % 2 else None


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


@pytest.mark.parametrize("role", [Listener, Operator, Publisher])
def test_a_role_without_its_methods_can_not_be_made(role):
    with pytest.raises(TypeError, match="abstract"):
        role()


def test_an_iterating_listener_hands_on_tokens_and_ends_by_itself():
    taken = HeldByFolds()
    Letters(taken).start()
    assert taken.given == [(0, None), (1, "token"), (2, None)]


def test_an_iterating_listener_stops_after_the_message_in_hand():
    taken = HeldByFolds(stop_after=2)
    taken.listener = Letters(taken)
    taken.listener.start()
    assert len(taken.given) == 2


def test_a_polling_listener_asks_until_it_is_stopped():
    taken = HeldByFolds(stop_after=3)
    taken.listener = Polled(taken)
    taken.listener.start()
    assert taken.given == [(1, 1), (3, 3), (5, 5)]
