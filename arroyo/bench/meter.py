"""`Meter`: what each process of a measured chain notes, and how the notes become an outcome."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from arroyo.errors import ArroyoError

from .case import Case, Outcome


class MeasurementError(ArroyoError):
    """A measured chain did not run to its end, so there is nothing to report."""


class Note(msgspec.Struct):
    """One process: CPU time in its run; a sink adds times of the first and last message."""

    cpu_ns: int
    arrived: int = 0
    first_ns: int = 0
    last_ns: int = 0
    latencies_ns: list[int] = []


class Meter:
    """Notes CPU time from `begin` to `end`, and at a sink the arrivals.

    Parameters
    ----------
    folder
        Where the note goes, in a file of this process.
    events
        How many messages a sink expects.
    daemon
        A process that can't note anything itself, whose CPU time is added.
    """

    def __init__(
        self, folder: str | Path, events: int = 0, daemon: psutil.Process | None = None
    ) -> None:
        self._path = Path(folder) / f"{os.getpid()}.json"
        self._events = events
        self._daemon = daemon
        self._note = Note(0)
        self.begin()

    def begin(self) -> None:
        """The run begins here."""
        self._begin_ns = self._cpu_ns()

    def arrive(self) -> bool:
        """A message has arrived; returns whether it was the last one."""
        note = self._note
        note.arrived += 1
        note.last_ns = time.monotonic_ns()
        if note.arrived == 1:
            note.first_ns = note.last_ns
        return note.arrived >= self._events

    def arrive_from(self, sent_ns: int) -> bool:
        """Like `arrive`, for a message that left the source at `sent_ns` (monotonic)."""
        self._note.latencies_ns.append(time.monotonic_ns() - sent_ns)
        return self.arrive()

    def end(self) -> None:
        """The run is over; write the note."""
        self._note.cpu_ns = self._cpu_ns() - self._begin_ns
        self._path.write_bytes(msgspec.json.encode(self._note))

    def _cpu_ns(self) -> int:
        own_ns = time.process_time_ns()
        if self._daemon is None:
            return own_ns
        times = self._daemon.cpu_times()
        return own_ns + int((times.user + times.system) * 1e9)


def read_notes(folder: Path) -> list[Note]:
    """Read what all processes of a chain noted."""
    return [msgspec.json.decode(path.read_bytes(), type=Note) for path in folder.glob("*.json")]


def outcome_of(case: Case, notes: Sequence[Note], *, lossless: bool = True) -> Outcome:
    """Work out what a run came to; the rate is that of what arrived, 0 where next to nothing did.

    Raises
    ------
    MeasurementError
        A process has noted nothing, or the sink has not got what it should.
    """
    expected = 2 + case.length * case.replicas
    sink = max(notes, key=lambda note: note.arrived, default=Note(0))
    finished = sink.arrived >= case.events or not lossless
    if len(notes) != expected or not finished:
        raise MeasurementError(
            f"{len(notes)} of {expected} processes of the chain finished their run "
            f"({'with' if finished else 'without'} the sink); is the machine out of memory?"
        )
    rate = 0.0
    if sink.arrived > 1:
        rate = (sink.arrived - 1) / ((sink.last_ns - sink.first_ns) / 1e9)
    latencies_us = sorted(each / 1e3 / case.hops for each in sink.latencies_ns)
    return Outcome(
        messages_per_s=rate,
        mib_per_s=rate * case.payload_bytes / 1024**2,
        cpu_us_per_message=sum(note.cpu_ns for note in notes) / 1e3 / case.events,
        hop_p50_us=quantile(latencies_us, 0.5) if latencies_us else None,
        hop_p99_us=quantile(latencies_us, 0.99) if latencies_us else None,
        arrived=sink.arrived,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of `ordered` values that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
