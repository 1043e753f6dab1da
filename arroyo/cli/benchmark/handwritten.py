"""The yardstick: the same chain as a good engineer writes it by hand in blocking pyzmq.

PUSH and PULL over ipc, the default high-water mark, a message is one frame of bytes: no types, no
metadata, no guarantees. Large frames are passed on without a copy, which is faster from 64 KiB on.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import zmq

from .case import Case, Outcome
from .meter import MeasurementError, Meter, outcome_of, read_notes

NO_COPY_BYTES = 64 * 1024
STAMP_BYTES = 8
RUN_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 5.0


class Job(msgspec.Struct, frozen=True):
    """What one process of the chain has to do."""

    role: Literal["source", "relay", "sink"]
    binds: str
    connects: tuple[str, ...]
    notes: str
    case: Case


def run_handwritten(case: Case) -> Outcome:
    """Run the chain once.

    Raises
    ------
    MeasurementError
        It did not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="arroyo-bench-") as folder:
        with contextlib.ExitStack() as running:
            # From the sink up: whoever connects finds the address bound.
            sink, *_ = [running.enter_context(_process(job)) for job in _jobs(case, Path(folder))]
            try:
                sink.wait(RUN_TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                raise MeasurementError(
                    f"the hand-written chain has not finished {case.label} after "
                    f"{RUN_TIMEOUT_S:.0f} s; measure a smaller case"
                ) from error
        return outcome_of(case, read_notes(Path(folder)))


def _jobs(case: Case, folder: Path) -> list[Job]:
    """Return all jobs, from the sink up."""
    below: tuple[str, ...] = (f"ipc://{folder}/sink",)
    jobs = [Job("sink", below[0], (), str(folder), case)]
    for stage in reversed(range(case.length)):
        names = tuple(f"ipc://{folder}/{stage}.{replica}" for replica in range(case.replicas))
        jobs += [Job("relay", name, below, str(folder), case) for name in names]
        below = names
    return [*jobs, Job("source", "", below, str(folder), case)]


@contextlib.contextmanager
def _process(job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that is ready, and end it at the end."""
    command = [sys.executable, "-P", "-m", __spec__.name, msgspec.json.encode(job).decode()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603  (our own module)
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise MeasurementError(
                f"the {job.role} of the hand-written chain ended with code {process.wait()} "
                "before it was ready; what it wrote is above"
            )
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def main(job: Job) -> None:
    """Do the work of one process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for whoever started this
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    meter = Meter(job.notes, job.case.events)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    above, below = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    if job.binds:
        above.bind(job.binds)
    for address in job.connects:
        below.connect(address)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
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
        for _ in range(case.events):
            time.sleep(case.interval_s)
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
    main(msgspec.json.decode(sys.argv[1], type=Job))
