"""`SyntheticListener`: events made from a seed, for trying out and measuring a chain."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from arroyo.connectors.extras import needed_for
from arroyo.errors import ConfigurationError
from arroyo.messages import Event, Start, Stop
from arroyo.stages import Listener, Processor

_VARIANTS = 1021
"""Number of different payloads. A prime, so that it is no multiple of any period of a chain."""

_COUNTS = 1000
"""Elements of arrays are whole numbers below this, or below the end of their type."""


class SyntheticListener(Listener):
    """Makes runs of events whose content depends on the seed alone.

    Each run is a Start (with the options as its data), `events` Events with the metadata
    ``{"index": i}``, and a Stop with the number of ``events``; then the listener has finished.
    The events of all runs are alike. Payloads are slices of one random block, so that making
    them costs nothing: measurements show the speed of the chain, not of the source.

    Parameters
    ----------
    operator
        Gets the messages.
    events
        Number of Events of a run.
    size_bytes
        Size of their payloads, plain bytes; default 1024 where there is no `shape`.
    shape, dtype
        Instead of `size_bytes`: each Event carries an array of this shape and numpy type, filled
        with whole numbers from 0 to 999.
    rate_hz
        Events per second. Each has a deadline, counted from the first one: after a delay those
        that are late follow at once. By default they come as fast as the chain takes them.
    runs
        Number of runs.
    seed
        Determines the content.
    """

    def __init__(
        self,
        operator: Processor,
        *,
        events: int = 1000,
        size_bytes: int | None = None,
        shape: Sequence[int] | None = None,
        dtype: str = "uint16",
        rate_hz: float | None = None,
        runs: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(operator)
        if size_bytes is not None and shape is not None:
            raise ConfigurationError(
                "size_bytes and shape are both given; an event has one of them"
            )
        for name, count in {"events": events, "runs": runs, "size_bytes": size_bytes}.items():
            if (count or 0) < 0:
                raise ConfigurationError(f"{name} is {count}; expected 0 or more")
        if min(shape or [0]) < 0:
            raise ConfigurationError(f"shape is {shape}; expected lengths of 0 or more")
        if rate_hz is not None and not 0 < rate_hz < math.inf:
            raise ConfigurationError(
                f"rate_hz is {rate_hz:g}; expected events per second, more than 0"
            )
        self._events = events
        self._size_bytes = 1024 if size_bytes is None else size_bytes
        self._shape = None if shape is None else tuple(shape)
        self._dtype = dtype
        self._rate_hz = rate_hz
        self._runs = runs
        self._seed = seed
        self._stopping = threading.Event()

    def open(self) -> None:
        """Draw the random block; ConfigurationError if `dtype` is no type of numbers."""
        if self._shape is None:
            self._make = byte_events(self._size_bytes, self._seed)
        else:
            self._make = array_events(self._shape, self._dtype, self._seed)

    def start(self) -> None:
        """Make the runs, until all are made or `stop()` is called."""
        content: dict[str, Any] = {"size_bytes": self._size_bytes}
        if self._shape is not None:
            content = {"shape": list(self._shape), "dtype": self._dtype}
        started_s = time.monotonic()
        for run in range(self._runs):
            if self._stopping.is_set():
                return
            self.operator.process(Start({"events": self._events, "seed": self._seed, **content}))
            sent = 0
            while sent < self._events and self._wait(started_s, run * self._events + sent):
                self.operator.process(self._make(sent))
                sent += 1
            self.operator.process(Stop({"events": sent}))

    def stop(self) -> None:
        """End the run after the event in hand."""
        self._stopping.set()

    def _wait(self, started_s: float, number: int) -> bool:
        """Wait until it is time for an event; return False if the listener was stopped."""
        if self._rate_hz is not None:
            delay_s = started_s + number / self._rate_hz - time.monotonic()
            if delay_s > 0:
                return not self._stopping.wait(delay_s)
        return not self._stopping.is_set()


def byte_events(size_bytes: int, seed: int) -> Callable[[int], Event]:
    """Return a function that makes the event of an index, with plain bytes."""
    block = memoryview(random.Random(seed).randbytes(size_bytes + _VARIANTS))  # noqa: S311

    def make(index: int) -> Event:
        first = index % _VARIANTS
        return Event({"index": index}, block[first : first + size_bytes])

    return make


def array_events(shape: tuple[int, ...], dtype: str, seed: int) -> Callable[[int], Event]:
    """Return a function that makes the event of an index, with an array.

    ConfigurationError: `dtype` is no type of numbers, or numpy is missing.
    """
    with needed_for("an array", "array"):
        import numpy as np
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = np.dtype(object)
    if kind.kind not in "iufc":
        raise ConfigurationError(f"dtype is {dtype!r}; expected one of numbers, such as 'uint16'")
    limit = min(_COUNTS, np.iinfo(kind).max + 1) if kind.kind in "iu" else _COUNTS
    length = math.prod(shape)
    drawn = random.Random(seed).randbytes(4 * (length + _VARIANTS))  # noqa: S311
    block = (np.frombuffer(drawn, "<u4") % limit).astype(kind)
    block.setflags(write=False)

    def make(index: int) -> Event:
        first = index % _VARIANTS
        return Event.from_array(block[first : first + length].reshape(shape), index=index)

    return make
