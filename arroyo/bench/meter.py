"""`Meter`: notes of each process of a measured chain, and the measurement made of them."""

from __future__ import annotations

import math
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec
import psutil

from arroyo.errors import ArroyoError

from .case import Case, Measurement, Role

_Result = TypeVar("_Result")


class MeasurementError(ArroyoError):
    """A measured chain did not finish, so there is nothing to report."""


class Note(msgspec.Struct):
    """What one process has measured.

    Attributes
    ----------
    role, cpu_ns
        Place of the process in its chain, and its CPU time.
    arrived, first, first_ns, last_ns, latencies_ns
        At a sink: messages; those that came first, which are one or a list; the times of the first
        and the last; and how long they were on the way.
    work_ns, work_cpu_ns, work_faults
        Of each call of a function that was timed.
    """

    role: Role
    cpu_ns: int = 0
    arrived: int = 0
    first: int = 1
    first_ns: int = 0
    last_ns: int = 0
    latencies_ns: list[int] = []
    work_ns: list[int] = []
    work_cpu_ns: list[int] = []
    work_faults: list[int] = []


class Meter:
    """Notes CPU time from `begin` to `end`, and at a sink the arrivals.

    Parameters
    ----------
    folder
        Where this process writes its note.
    role
        Place of the process in its chain.
    events
        Number of messages that a sink expects.
    daemon
        Another process, whose CPU time is added.
    """

    def __init__(
        self,
        folder: str | Path,
        role: Role,
        events: int = 0,
        daemon: psutil.Process | None = None,
    ) -> None:
        self._path = Path(folder) / f"{os.getpid()}.json"
        self._events = events
        self._daemon = daemon
        self.note = Note(role)
        self.begin()

    def begin(self) -> None:
        """Begin the run."""
        self._begin_ns = self._cpu_ns()

    def arrive(self, count: int = 1) -> bool:
        """Count messages; return True if the last one is among them."""
        note = self.note
        note.last_ns = time.monotonic_ns()
        if not note.arrived:
            note.first, note.first_ns = count, note.last_ns
        note.arrived += count
        return note.arrived >= self._events

    def arrive_from(self, sent_ns: int) -> bool:
        """Like `arrive`, for a message that left the source at `sent_ns` (monotonic)."""
        self.note.latencies_ns.append(time.monotonic_ns() - sent_ns)
        return self.arrive()

    def timed(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call a function, and note what the call took in this thread."""
        begin = _usage()
        result = work(*arguments)
        time_ns, cpu_ns, faults = _usage()
        self.note.work_ns.append(time_ns - begin[0])
        self.note.work_cpu_ns.append(cpu_ns - begin[1])
        self.note.work_faults.append(faults - begin[2])
        return result

    def end(self) -> None:
        """End the run and write the note."""
        self.note.cpu_ns = self._cpu_ns() - self._begin_ns
        self._path.write_bytes(msgspec.json.encode(self.note))

    def _cpu_ns(self) -> int:
        own_ns = time.process_time_ns()
        if self._daemon is None:
            return own_ns
        times = self._daemon.cpu_times()
        return own_ns + int((times.user + times.system) * 1e9)


def _usage() -> tuple[int, int, int]:
    """Return time, CPU time and page faults of this thread so far."""
    faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    return time.perf_counter_ns(), time.thread_time_ns(), faults


def read_notes(folder: Path) -> list[Note]:
    """Read the notes of all processes of a chain."""
    return [msgspec.json.decode(path.read_bytes(), type=Note) for path in folder.glob("*.json")]


def measurement_of(case: Case, notes: Sequence[Note], *, lossless: bool = True) -> Measurement:
    """Return the figures of a run; the rate is that of arrivals, 0 if there were less than two.

    Raises
    ------
    MeasurementError
        The note of a process is missing, or messages are missing at the sink.
    """
    expected = 2 + case.length * case.replicas
    sink = max(notes, key=lambda note: note.arrived, default=Note("sink"))
    finished = sink.arrived >= case.events or not lossless
    if len(notes) != expected or not finished:
        raise MeasurementError(
            f"{len(notes)} of {expected} processes of the chain finished their run "
            f"({'with' if finished else 'without'} the sink); is the machine out of memory?"
        )
    rate = 0.0
    if sink.arrived > sink.first:
        rate = (sink.arrived - sink.first) / ((sink.last_ns - sink.first_ns) / 1e9)
    latencies_us = sorted(each / 1e3 / case.hops for each in sink.latencies_ns)
    cpu_us = {
        role: sum(note.cpu_ns for note in notes if note.role == role) / 1e3 / case.events
        for role in get_args(Role)
    }
    return Measurement(
        messages_per_s=rate,
        mib_per_s=rate * case.payload_bytes / 1024**2,
        cpu_us_per_message=sum(cpu_us.values()),
        source_us=cpu_us["source"],
        stage_us=cpu_us["relay"] / case.length,
        sink_us=cpu_us["sink"],
        hop_p50_us=quantile(latencies_us, 0.5) if latencies_us else None,
        hop_p99_us=quantile(latencies_us, 0.99) if latencies_us else None,
        work_us=median_us([each for note in notes for each in note.work_ns]),
        work_cpu_us=median_us([each for note in notes for each in note.work_cpu_ns]),
        work_faults=median([each for note in notes for each in note.work_faults]),
        arrived=sink.arrived,
    )


def median(values: Sequence[int]) -> float | None:
    """Return the median; None of nothing."""
    return statistics.median(values) if values else None


def median_us(values_ns: Sequence[int]) -> float | None:
    """Return the median in us; None of nothing."""
    return statistics.median(values_ns) / 1e3 if values_ns else None


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the least of `ordered` values that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
