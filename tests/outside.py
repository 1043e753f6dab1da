"""What stands around a listener or publisher in tests of connectors: a recorder, and its life."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from arroyo import Event

DEADLINE_S = 10.0


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
