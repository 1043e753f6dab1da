"""Frames integrated by a `multiprocessing.Pool`, which most users would take for that."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator

import msgspec

from arroyo.bench.case import Case, Measurement
from arroyo.bench.stages.frames import Curve, Frame, frames_in_memory, integrate

from .processes import run_abreast, run_here

WARM_UP = 4
"""Frames for each worker before the run: its imports and the table of bins."""


def run_pool(case: Case) -> Measurement:
    """Run the pool once, with as many workers as the case has replicas.

    Raises
    ------
    MeasurementError
        It did not come to its end.
    """
    [found] = run_abreast(__spec__.name, case, 1)
    return msgspec.json.decode(found, type=Measurement)


def main(case: Case) -> Measurement:
    """Hand all frames to the workers, and take the curves in order."""
    frames = frames_in_memory(case.payload_bytes)
    with multiprocessing.Pool(case.replicas) as pool:
        workers_ns: dict[int, int] = {}
        for _, worker, cpu_ns in pool.imap(_work, _tasks(case, frames, WARM_UP * case.replicas)):
            workers_ns[worker] = cpu_ns
        began_ns = sum(workers_ns.values()) + time.process_time_ns()
        times_ns = []
        for _, worker, cpu_ns in pool.imap(_work, _tasks(case, frames, case.events)):
            workers_ns[worker] = cpu_ns
            times_ns.append(time.monotonic_ns())
        # Leaving the block would terminate workers that hold the lock of the queue of tasks, and
        # then wait for that lock for good.
        pool.close()
        pool.join()
        cpu_ns = sum(workers_ns.values()) + time.process_time_ns() - began_ns
    rate = (len(times_ns) - 1) / ((times_ns[-1] - times_ns[0]) / 1e9)
    return Measurement(
        messages_per_s=rate,
        mib_per_s=rate * case.payload_bytes / 1024**2,
        cpu_us_per_message=cpu_ns / 1e3 / case.events,
        arrived=len(times_ns),
    )


def _tasks(case: Case, frames: list[Frame], count: int) -> Iterator[tuple[Frame, int]]:
    return ((frames[index % len(frames)], case.pixels) for index in range(count))


def _work(task: tuple[Frame, int]) -> tuple[Curve, int, int]:
    """Return the curve, and the CPU time that this worker has taken so far."""
    return integrate(*task), os.getpid(), time.process_time_ns()


if __name__ == "__main__":
    run_here(main)
