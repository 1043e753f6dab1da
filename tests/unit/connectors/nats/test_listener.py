"""What a listener to NATS acknowledges, by a consumer that does what the test says."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest
from outside import Recorder

from arroyo.connectors import NATSListener
from arroyo.connectors.consumer_state import ConsumerState


class Consumer:
    """Delivers what it was given, then stops the listener; notes what is acknowledged."""

    def __init__(self):
        self.arriving = deque()
        self.acknowledged = []
        self.end = 0

    def renew(self, finished, *, existing):
        return finished or 0

    def take(self):
        if not self.arriving:
            self.stop()
            return None
        reply, sequence = self.arriving.popleft()
        header = {"arroyo": '{"type":"Event","metadata":{}}'}
        self.end = max(self.end, sequence)
        return sequence, SimpleNamespace(reply=reply, subject="a", headers=header, data=b"")

    def wake(self):
        pass

    def acknowledge(self, replies):
        self.acknowledged.append(replies)


@pytest.fixture
def listener():
    made = NATSListener(Recorder(), "frames", "frames.>")
    made._consumer = consumer = Consumer()
    made._consumer_state = ConsumerState(None)
    made._session = SimpleNamespace(require_connection=lambda: None)
    consumer.stop = made.stop
    made._resume()
    return made


def deliver(listener, life, *sequences):
    """Deliver messages of the stream; `life`: of the consumer."""
    listener._stopping.clear()
    listener._consumer.arriving.extend((f"{life}-{sequence}", sequence) for sequence in sequences)
    listener._read(listener._consumer)


def test_the_last_message_that_is_acknowledged_is_the_last_of_the_stream(listener):
    # A consumer takes it for an acknowledgement of all before it.
    deliver(listener, "a", 1, 2, 3, 4)
    listener._resume()
    listener.acknowledge_batch([1, 2])  # they were not delivered again so far
    deliver(listener, "b", 1, 2, 3, 4)
    listener.acknowledge_batch([3, 4])
    assert listener._consumer.acknowledged[-1][-1] == "b-4"
