"""What stands around a listener or publisher in tests of connectors: a recorder, and its life."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager

import numpy as np

from arroyo import Event, Origin

DEADLINE_S = 60.0


class Recorder:
    """Stands for the chain behind a listener; `at_event` is called for each Event."""

    def __init__(self, at_event=lambda event: None):
        self.messages = []
        self.tokens = []
        """Those of the events."""
        self._at_event = at_event
        self._changed = threading.Condition()

    def process(self, message, token=None):
        with self._changed:
            self.messages.append(message)
            if isinstance(message, Event):
                self.tokens.append(token)
                self._at_event(message)
            self._changed.notify_all()

    @property
    def events(self):
        return [message for message in self.messages if isinstance(message, Event)]

    def wait_until(self, condition):
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE_S), self.messages

    def wait_for(self, count):
        """Wait for so many messages; return them."""
        self.wait_until(lambda: len(self.messages) >= count)
        return list(self.messages)


@contextmanager
def running(listener):
    """Open a listener and run it in a thread of its own, as the framework does."""
    listener.open()
    thread = threading.Thread(target=listener.start)
    try:
        thread.start()
        yield listener
    finally:
        listener.stop()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        listener.close()


@contextmanager
def opened(publisher):
    """Open a publisher, and close it at the end."""
    publisher.open()
    try:
        yield publisher
    finally:
        publisher.close()


def event(index, payload=b"abc", **changes):
    """Make an event of a chain; `changes`: what is different in its origin."""
    made = Event({"index": index}, payload)
    made._origin = Origin("run-1", "images.0", 7, index)._replace(**changes)
    return made


def array_event():
    """Make an event of a chain that carries an array."""
    event = Event.from_array(np.arange(3, dtype="<i4"), exposure=0.5)
    event._origin = Origin("run-1", "images.0", 7, 3)
    return event


def assert_is_array_event(header, payload):
    """Hold what another program has got to the outward format of `array_event`."""
    assert json.loads(header) == {
        "type": "Event",
        "run": "run-1",
        "source": "images.0",
        "sequence": 3,
        "metadata": {"exposure": 0.5},
        "dtype": "<i4",
        "shape": [3],
    }
    assert np.frombuffer(payload, "<i4").tolist() == [0, 1, 2]


def free_port():
    """A port that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
