"""The stages of measured chains that move frames. Named in chain files that `supervised` writes."""

from __future__ import annotations

import threading
from abc import abstractmethod

from arroyo.bench.meter import Meter
from arroyo.messages import Event, Message, Start, Stop
from arroyo.stages import Listener, Operator, Processor

from .frames import Frame, frames_in_memory, integrate, read, transform


class FrameSource(Listener):
    """Makes one run of frames that lie in its memory.

    Parameters
    ----------
    operator
        Gets the messages.
    notes
        Folder for what is measured.
    events, payload_bytes
        Number and size of the frames.
    """

    def __init__(self, operator: Processor, *, notes: str, events: int, payload_bytes: int) -> None:
        super().__init__(operator)
        self._meter = Meter(notes, "source")
        self._events = events
        self._payload_bytes = payload_bytes
        self._stopping = threading.Event()

    def open(self) -> None:
        """Make the frames."""
        self._frames = frames_in_memory(self._payload_bytes)

    def start(self) -> None:
        """Make the run, until its end or `stop()`."""
        self._meter.begin()
        self.operator.process(Start())
        for index in range(self._events):
            self.operator.process(Event.from_array(self.frame(index), index=index))
            if self._stopping.is_set():
                break
        self.operator.process(Stop())

    def frame(self, index: int) -> Frame:
        """Return the frame of an event."""
        return self._frames[index % len(self._frames)]

    def stop(self) -> None:
        """End the run after the present event."""
        self._stopping.set()

    def close(self) -> None:
        """Write the note: everything is finished by now."""
        self._meter.end()


class FillingSource(FrameSource):
    """Makes each frame where it is sent from, as one does who gets it from a camera."""

    def open(self) -> None:
        """Need no frames beforehand."""

    def frame(self, index: int) -> Frame:
        """Return a new frame that is written to as a whole."""
        frame: Frame = self.allocate(self._payload_bytes // 4, "float32")
        frame.fill(index)
        return frame


class FrameOperator(Operator):
    """Base of the operators: works on each frame."""

    def __init__(self, *, notes: str) -> None:
        self.meter = Meter(notes, "relay")

    def process(self, message: Message) -> Message:
        """Work on an event, pass Start and Stop on."""
        if isinstance(message, Event):
            return self.work(message)
        if isinstance(message, Start):
            self.meter.begin()
        else:
            self.meter.end()
        return message

    @abstractmethod
    def work(self, event: Event) -> Event:
        """Return what is sent on."""


class ReadFrames(FrameOperator):
    """Reads every byte, and passes the frame on."""

    def work(self, event: Event) -> Event:
        """Return the event."""
        self.meter.timed(read, event.array)
        return event


class TransformFrames(FrameOperator):
    """Makes a new frame of each one."""

    def work(self, event: Event) -> Event:
        """Return the new frame."""
        return Event.from_array(self.meter.timed(transform, event.array), **event.metadata)


class IntegrateFrames(FrameOperator):
    """Makes a curve of each frame.

    Parameters
    ----------
    notes
        Folder for what is measured.
    pixels
        How many pixels are binned for each frame.
    """

    def __init__(self, *, notes: str, pixels: int) -> None:
        super().__init__(notes=notes)
        self._pixels = pixels

    def work(self, event: Event) -> Event:
        """Return the curve."""
        curve = self.meter.timed(integrate, event.array, self._pixels)
        return Event.from_array(curve, **event.metadata)
