"""The stages of the measured chain. Named in chain files that `supervised` writes."""

from __future__ import annotations

import threading
import time

from arroyo.bench.meter import Meter
from arroyo.messages import Event, Message, Start, Stop
from arroyo.stages import Listener, Operator, Processor, Publisher

from .pacing import pace


class EventSource(Listener):
    """Makes one run of events with the metadata ``index``, and with an interval ``sent_ns``.

    All have the same payload, which is copied into each message, as in the chains by hand.

    Parameters
    ----------
    operator
        Gets the messages.
    notes
        Folder for what is measured.
    events, payload_bytes
        Number and size of the events.
    interval_s
        Time between two events; 0: as fast as the chain takes them.
    """

    def __init__(
        self,
        operator: Processor,
        *,
        notes: str,
        events: int,
        payload_bytes: int,
        interval_s: float = 0.0,
    ) -> None:
        super().__init__(operator)
        self._meter = Meter(notes, "source")
        self._events = events
        self._payload = bytes(payload_bytes)
        self._interval_s = interval_s
        self._stopping = threading.Event()

    def start(self) -> None:
        """Make the run, until its end or `stop()`."""
        self._meter.begin()
        self.operator.process(Start())
        if self._interval_s:
            self._tick()
        else:
            self._flood()
        self.operator.process(Stop())

    def _flood(self) -> None:
        process, stopping, payload = self.operator.process, self._stopping, self._payload
        for index in range(self._events):
            process(Event({"index": index}, payload))
            if stopping.is_set():
                return

    def _tick(self) -> None:
        for index in pace(self._events, self._interval_s):
            sent = {"index": index, "sent_ns": time.monotonic_ns()}
            self.operator.process(Event(sent, self._payload))
            if self._stopping.is_set():
                return

    def stop(self) -> None:
        """End the run after the present event."""
        self._stopping.set()

    def close(self) -> None:
        """Write the note: everything is finished by now."""
        self._meter.end()


class PassThrough(Operator):
    """Passes every message on unchanged."""

    def __init__(self, *, notes: str) -> None:
        self._meter = Meter(notes, "relay")

    def process(self, message: Message) -> Message:
        """Return the message."""
        if isinstance(message, Start):
            self._meter.begin()
        elif isinstance(message, Stop):
            self._meter.end()
        return message


class PassThroughLists(PassThrough):
    """The same with lists of messages."""

    def process_batch(self, messages: list[Event]) -> list[Event]:
        """Return the messages."""
        return messages


class Sink(Publisher):
    """Notes when messages arrive."""

    def __init__(self, *, notes: str, events: int) -> None:
        self._meter = Meter(notes, "sink", events)

    def publish(self, message: Message) -> None:
        """Note the time of the message."""
        if isinstance(message, Event):
            sent_ns = message.metadata.get("sent_ns")
            if sent_ns is None:
                self._meter.arrive()
            else:
                self._meter.arrive_from(sent_ns)
        elif isinstance(message, Start):
            self._meter.begin()
        else:
            self._meter.end()


class ListSink(Sink):
    """The same with lists of messages."""

    def publish_batch(self, messages: list[Event]) -> None:
        """Note the time of the list."""
        self._meter.arrive(len(messages))


class IdleSource(Listener):
    """Sends nothing."""

    def __init__(self, operator: Processor) -> None:
        super().__init__(operator)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Wait for `stop()`."""
        self._stopping.wait()

    def stop(self) -> None:
        """End `start()`."""
        self._stopping.set()


class IdleOperator(Operator):
    """Receives nothing."""

    def process(self, message: Message) -> Message:
        """Return the message."""
        return message


class IdleSink(Publisher):
    """Receives nothing."""

    def publish(self, message: Message) -> None:
        """Do nothing."""
