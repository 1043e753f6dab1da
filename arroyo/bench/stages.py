"""The stages of the measured chain. Named in chain files that `supervised` writes."""

from __future__ import annotations

import threading
import time

from arroyo.codec import DETACH_BYTES
from arroyo.messages import Event, Message, Start, Stop
from arroyo.stages import Listener, Operator, Processor, Publisher

from .meter import Meter
from .pacing import pace


class EventSource(Listener):
    """Makes one run of events with the metadata ``index``, and with an interval ``sent_ns``.

    Small payloads are one buffer that is made once, as in the hand-written chain, and copied into
    each message. A large one is a new array each time, as a detector's images are, from `allocate`:
    what fills it would write it in place, so nothing is copied. Neither source fills its buffers.

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
        self._meter = Meter(notes)
        self._events = events
        self._payload_bytes = payload_bytes
        self._interval_s = interval_s
        self._stopping = threading.Event()

    def start(self) -> None:
        """Make the run, or what of it there is time for until `stop()`."""
        self._meter.begin()
        self.operator.process(Start())
        if self._interval_s:
            self._tick()
        elif self._payload_bytes >= DETACH_BYTES:
            self._flood_with_arrays()
        else:
            self._flood()
        self.operator.process(Stop())

    def _flood(self) -> None:
        process, stopping = self.operator.process, self._stopping
        payload = bytes(self._payload_bytes)
        for index in range(self._events):
            process(Event({"index": index}, payload))
            if stopping.is_set():
                return

    def _flood_with_arrays(self) -> None:
        for index in range(self._events):
            array = self.allocate(self._payload_bytes, "uint8")
            self.operator.process(Event.from_array(array, index=index))
            if self._stopping.is_set():
                return

    def _tick(self) -> None:
        payload = bytes(self._payload_bytes)
        for index in pace(self._events, self._interval_s):
            sent = {"index": index, "sent_ns": time.monotonic_ns()}
            self.operator.process(Event(sent, payload))
            if self._stopping.is_set():
                return

    def stop(self) -> None:
        """End the run after the event in hand."""
        self._stopping.set()

    def close(self) -> None:
        """Write the note: everything is finished by now."""
        self._meter.end()


class PassThrough(Operator):
    """Hands every message on as it is."""

    def __init__(self, *, notes: str) -> None:
        self._meter = Meter(notes)

    def process(self, message: Message) -> Message:
        """Return the message."""
        if isinstance(message, Start):
            self._meter.begin()
        elif isinstance(message, Stop):
            self._meter.end()
        return message


class Sink(Publisher):
    """Notes when messages arrive."""

    def __init__(self, *, notes: str, events: int) -> None:
        self._meter = Meter(notes, events)

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
    """Never gets anything."""

    def process(self, message: Message) -> Message:
        """Return the message."""
        return message


class IdleSink(Publisher):
    """Never gets anything."""

    def publish(self, message: Message) -> None:
        """Do nothing."""
