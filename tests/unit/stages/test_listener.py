"""The ready-made loops of listeners."""

import pytest

from arroyo.errors import EncodeError
from arroyo.messages import Event
from arroyo.stages import IteratingListener, Listener, PollingListener


class Chain:
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


def test_one_without_start_and_stop_can_not_be_made():
    with pytest.raises(TypeError, match=r"abstract methods '?start'?, '?stop"):
        Listener(None)


def test_an_iterating_listener_hands_on_tokens_and_ends_by_itself():
    chain = Chain()
    Letters(chain).start()
    assert chain.given == [(0, None), (1, "token"), (2, None)]


def test_an_iterating_listener_stops_after_the_message_in_hand():
    chain = Chain(stop_after=2)
    chain.listener = Letters(chain)
    chain.listener.start()
    assert len(chain.given) == 2


def test_a_polling_listener_asks_until_it_is_stopped():
    chain = Chain(stop_after=3)
    chain.listener = Polled(chain)
    chain.listener.start()
    assert chain.given == [(1, 1), (3, 3), (5, 5)]


class Refusing:
    def process(self, message, token=None):
        raise EncodeError("no form in msgpack")


def test_a_polling_listener_ends_with_what_can_not_be_sent_unless_it_counts_it():
    with pytest.raises(EncodeError):
        Polled(Refusing()).start()
    refused = []

    class Counts(Polled):
        def refuse(self, error):
            refused.append(error)
            if len(refused) == 2:
                self.stop()

    Counts(Refusing()).start()
    assert len(refused) == 2
