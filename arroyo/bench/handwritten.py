"""The yardstick: the same chain as a good engineer writes it by hand in blocking pyzmq.

PUSH and PULL over ipc, the default high-water mark, a message is one frame of bytes: no types, no
metadata, no guarantees. Large frames are passed on without a copy, which is faster from 64 KiB on.
The source makes its buffer once and sends it again and again, so that it neither fills nor copies
one in this process; what the kernel copies is what is measured.
"""

from __future__ import annotations

import signal
import time

import zmq

from .case import Case, Outcome
from .meter import Meter
from .pacing import pace
from .processes import Job, read_job, report_ready, run_processes

NO_COPY_BYTES = 64 * 1024
STAMP_BYTES = 8


def run_handwritten(case: Case) -> Outcome:
    """Run the chain once.

    Raises
    ------
    MeasurementError
        It did not come to its end.
    """
    return run_processes(__spec__.name, case, lambda folder, name: f"ipc://{folder}/{name}")


def main(job: Job) -> None:
    """Do the work of one process."""
    meter = Meter(job.notes, job.case.events)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    above, below = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    if job.inlet:
        above.bind(job.inlet)
    for address in job.outlets:
        below.connect(address)
    report_ready()
    try:
        if job.role == "source":
            _send_all(below, job.case, meter)
            # libzmq forgets what a receiver at its high-water mark has not read when we leave.
            signal.pause()
        elif job.role == "relay":
            _relay_all(above, below, job.case, meter)
        else:
            _receive_all(above, job.case, meter)
    finally:
        # The context is left to the end of the process: ending it may wait for zero-copy frames.
        meter.end()


def _send_all(below: zmq.Socket[bytes], case: Case, meter: Meter) -> None:
    payload = bytes(case.payload_bytes)
    meter.begin()
    if case.interval_s:
        rest = payload[STAMP_BYTES:]
        for _ in pace(case.events, case.interval_s):
            below.send(time.monotonic_ns().to_bytes(STAMP_BYTES) + rest)
    elif case.payload_bytes < NO_COPY_BYTES:
        for _ in range(case.events):
            below.send(payload)
    else:
        for _ in range(case.events):
            below.send(payload, copy=False)


def _relay_all(
    above: zmq.Socket[bytes], below: zmq.Socket[bytes], case: Case, meter: Meter
) -> None:
    """Pass on until told to end."""
    if case.payload_bytes < NO_COPY_BYTES:
        below.send(_first(above, meter))
        while True:
            below.send(above.recv())
    below.send(_first(above, meter))
    while True:
        below.send(above.recv(copy=False), copy=False)


def _receive_all(above: zmq.Socket[bytes], case: Case, meter: Meter) -> None:
    message = _first(above, meter)
    if case.interval_s:
        while not meter.arrive_from(int.from_bytes(message[:STAMP_BYTES])):
            message = above.recv()
    elif case.payload_bytes < NO_COPY_BYTES:
        while not meter.arrive():
            above.recv()
    else:
        while not meter.arrive():
            above.recv(copy=False)


def _first(above: zmq.Socket[bytes], meter: Meter) -> bytes:
    message = above.recv()
    meter.begin()
    return message


if __name__ == "__main__":
    main(read_job())
