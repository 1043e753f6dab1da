"""The reference: the same chain as a good engineer writes it by hand in blocking pyzmq.

PUSH and PULL over ipc, the default high-water mark, a message is one frame of bytes: no types, no
metadata, no guarantees. Arrays are sent and received without a copy, which is faster from 64 KiB
on, so only the copies of the kernel are left.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import zmq

from arroyo.bench.case import Case, Measurement
from arroyo.bench.meter import Meter
from arroyo.bench.stages.pacing import pace

from .processes import Job, read_job, report_ready, run_processes

STAMP_BYTES = 8


class Loops(NamedTuple):
    """The work of each process. The relay's never ends."""

    source: Callable[[zmq.Socket[bytes], Case, Meter], None]
    relay: Callable[[zmq.Socket[bytes], zmq.Socket[bytes], Case, Meter], None]
    sink: Callable[[zmq.Socket[bytes], Case, Meter], None]


def run_handwritten(case: Case) -> Measurement:
    """Run the chain once.

    Raises
    ------
    MeasurementError
        It did not finish.
    """
    return run_by_hand(__spec__.name, case)


def run_by_hand(module: str, case: Case) -> Measurement:
    """Run a chain whose processes run `work_by_hand`."""
    return run_processes(module, case, lambda folder, name: f"ipc://{folder}/{name}")


def work_by_hand(job: Job, loops: Loops) -> None:
    """Do the work of one process."""
    meter = Meter(job.notes, job.role, job.case.events)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    above, below = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    if job.inlet:
        above.bind(job.inlet)
    for address in job.outlets:
        below.connect(address)
    report_ready()
    try:
        if job.role == "source":
            loops.source(below, job.case, meter)
            # If we left, libzmq would drop what a receiver at its high-water mark has not read.
            signal.pause()
        elif job.role == "relay":
            loops.relay(above, below, job.case, meter)
        else:
            loops.sink(above, job.case, meter)
    finally:
        # The context ends with the process: terminating it may wait for zero-copy frames.
        meter.end()


def first(above: zmq.Socket[bytes], meter: Meter) -> bytes:
    """Receive the first message of the run."""
    message = above.recv()
    meter.begin()
    return message


def _send_all(below: zmq.Socket[bytes], case: Case, meter: Meter) -> None:
    if case.frames:
        _send_frames(below, case, meter)
        return
    payload = bytes(case.payload_bytes)
    meter.begin()
    if case.interval_s:
        rest = payload[STAMP_BYTES:]
        for _ in pace(case.events, case.interval_s):
            below.send(time.monotonic_ns().to_bytes(STAMP_BYTES) + rest)
    else:
        for _ in range(case.events):
            below.send(payload)


def _send_frames(below: zmq.Socket[bytes], case: Case, meter: Meter) -> None:
    import numpy as np

    from arroyo.bench.stages.frames import frames_in_memory

    frames = frames_in_memory(case.payload_bytes)
    meter.begin()
    for index in range(case.events):
        frame = frames[index % len(frames)]
        if case.work == "fill":
            frame = np.empty_like(frame)
            frame.fill(index)
        below.send(frame.data, copy=False)


def _relay_all(
    above: zmq.Socket[bytes], below: zmq.Socket[bytes], case: Case, meter: Meter
) -> None:
    """Pass on until told to end."""
    if case.frames:
        _relay_frames(above, below, case, meter)
    below.send(first(above, meter))
    while True:
        below.send(above.recv())


def _relay_frames(
    above: zmq.Socket[bytes], below: zmq.Socket[bytes], case: Case, meter: Meter
) -> None:
    from arroyo.bench.stages.frames import frame_of, read, transform

    received: Any = first(above, meter)
    while True:
        if case.work == "pass":
            below.send(received, copy=False)
        elif case.work == "transform":
            below.send(meter.timed(transform, frame_of(received)).data, copy=False)
        else:
            meter.timed(read, frame_of(received))
            below.send(received, copy=False)
        received = above.recv(copy=False)


def _receive_all(above: zmq.Socket[bytes], case: Case, meter: Meter) -> None:
    message = first(above, meter)
    if case.interval_s:
        while not meter.arrive_from(int.from_bytes(message[:STAMP_BYTES])):
            message = above.recv()
    elif case.frames:
        while not meter.arrive():
            above.recv(copy=False)
    else:
        while not meter.arrive():
            above.recv()


if __name__ == "__main__":
    work_by_hand(read_job(), Loops(_send_all, _relay_all, _receive_all))
