"""What this machine can do at most in a case: each stage's own work alone, in a bare loop.

No chain is faster: each stage's code has to run, in Python, on messages that are decoded and
encoded in its process; each new frame has to be written once to where others can read it; and there
are only so many cores. Nothing moves between processes here, and nobody waits.
All cores run these loops at once, since one core alone has the caches and the memory for itself.
The heap is tuned as in a stage, but for the function that is timed outside of any chain.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from arroyo.bench.case import Case, Measurement, Work
from arroyo.bench.meter import Meter, median, median_us
from arroyo.bench.stages.event_stages import PassThrough, Sink
from arroyo.messages import Event
from arroyo.runner.process.memory_tuning import tune_memory

from .processes import run_abreast, run_here

LOOP_S = 0.25
"""How long each loop runs."""
CALLS_PER_LOOK = 4096
"""Small messages between two looks at the clock."""
SLABS = 4
"""Frames that are written in turn, as a chain's slabs are."""


class Bare(msgspec.Struct):
    """What the work of each stage takes for a message, in us; `work` as in `Measurement`."""

    source_us: float
    relay_us: float
    sink_us: float
    work_us: float | None = None
    work_cpu_us: float | None = None
    work_faults: float | None = None


def run_limit(case: Case) -> Measurement:
    """Run the loops once, on all cores.

    Raises
    ------
    MeasurementError
        They did not come to their end.
    """
    cores = len(os.sched_getaffinity(0))
    found = [
        msgspec.json.decode(each, type=Bare) for each in run_abreast(__spec__.name, case, cores)
    ]
    return limit_of(case, mean_of(found), cores)


def mean_of(found: list[Bare]) -> Bare:
    """Return the means of all processes."""
    columns = {name: [getattr(each, name) for each in found] for name in Bare.__struct_fields__}
    return Bare(
        **{name: statistics.fmean(each) for name, each in columns.items() if None not in each}
    )


def limit_of(case: Case, bare: Bare, cores: int) -> Measurement:
    """Return the rate at which the busiest stage, or all cores together, have no time left."""
    all_us = bare.source_us + case.length * bare.relay_us + bare.sink_us
    busiest_us = max(bare.source_us, bare.relay_us / case.replicas, bare.sink_us)
    rate = 1e6 / max(busiest_us, all_us / cores)
    return Measurement(
        messages_per_s=rate,
        mib_per_s=rate * case.payload_bytes / 1024**2,
        cpu_us_per_message=all_us,
        source_us=bare.source_us,
        stage_us=bare.relay_us,
        sink_us=bare.sink_us,
        work_us=bare.work_us,
        work_cpu_us=bare.work_cpu_us,
        work_faults=bare.work_faults,
    )


def main(case: Case) -> Bare:
    """Measure in this process."""
    with tempfile.TemporaryDirectory(prefix="arroyo-bench-") as notes:
        return _frames(case, notes) if case.frames else _small(case, notes)


def _small(case: Case, notes: str) -> Bare:
    """Make, pass on and count messages, as the stages of the chain do, encoded by msgspec."""
    payload, encode = bytes(case.payload_bytes), msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(Event).decode
    pass_on = PassThrough(notes=notes).process
    publish = Sink(notes=notes, events=case.events).publish
    message = encode(Event({"index": 0}, payload))

    def source(indices: range) -> None:
        for index in indices:
            encode(Event({"index": index}, payload))

    def relay(indices: range) -> None:
        for _ in indices:
            encode(pass_on(decode(message)))

    def sink(indices: range) -> None:
        for _ in indices:
            publish(decode(message))

    tune_memory()
    return Bare(*(_loop_us(loop, CALLS_PER_LOOK) for loop in (source, relay, sink)))


def _frames(case: Case, notes: str) -> Bare:
    """Write frames where others could read them, and work on them."""
    import numpy as np

    from arroyo.bench.stages import frames

    memory = frames.frames_in_memory(case.payload_bytes)
    slabs = itertools.cycle([np.empty_like(memory[0]) for _ in range(SLABS)])
    functions: Mapping[Work, Callable[[frames.Frame], Any]] = {
        "read": frames.read,
        "fill": frames.read,
        "transform": frames.transform,
        "integrate": lambda frame: frames.integrate(frame, case.pixels),
    }
    work, meter = functions.get(case.work), Meter(notes, "relay")

    def loop_us(each: Callable[[frames.Frame], Any]) -> float:
        def loop(indices: range) -> None:
            for index in indices:
                each(memory[index % len(memory)])

        return _loop_us(loop)

    if work is not None:
        loop_us(lambda frame: meter.timed(work, frame))
    tune_memory()
    copy_us = loop_us(lambda frame: np.copyto(next(slabs), frame))
    fill_us = loop_us(lambda frame: next(slabs).fill(frame[0]))
    work_us = loop_us(work) if work is not None else 0.0
    return Bare(
        source_us=fill_us if case.work == "fill" else copy_us,
        relay_us=work_us + copy_us if case.work == "transform" else work_us,
        sink_us=0.0,
        work_us=median_us(meter.note.work_ns),
        work_cpu_us=median_us(meter.note.work_cpu_ns),
        work_faults=median(meter.note.work_faults),
    )


def _loop_us(loop: Callable[[range], None], calls: int = 1) -> float:
    """Run a loop for some time, and return the median time for one message, in us."""
    found, begin = [], time.perf_counter()
    for indices in _ranges(calls):
        before = time.perf_counter()
        loop(indices)
        now = time.perf_counter()
        found.append((now - before) / calls)
        if now - begin > LOOP_S and len(found) > SLABS:
            break
    return statistics.median(found) * 1e6


def _ranges(count: int) -> Iterator[range]:
    return (range(begin, begin + count) for begin in itertools.count(0, count))


if __name__ == "__main__":
    run_here(main)
