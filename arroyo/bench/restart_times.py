"""Measures how fast a chain starts, restarts a stage and stops, and the cost of an idle chain."""

from __future__ import annotations

import os
import signal
import statistics
import time

import msgspec
import psutil

from arroyo.identifiers import ReplicaName

from .running.supervised import SupervisedChain, idle_chain

IDLE_S = 5.0
"""How long the CPU time of an idle supervisor is measured."""
SETTLE_S = 1.0

_SOURCE, _SINK = ReplicaName("source", 0), ReplicaName("sink", 0)


class Restarts(msgspec.Struct, frozen=True):
    """Times from `kill -9` of an operator to its replacement READY, in ms; with numpy and zmq."""

    kill_to_ready_ms: list[float]

    @property
    def median_ms(self) -> float:
        """Median of all kills."""
        return statistics.median(self.kill_to_ready_ms)


class Start(msgspec.Struct, frozen=True):
    """Start and stop of a chain of `stages` processes that import numpy and zmq."""

    stages: int
    all_ready_s: float
    stop_s: float


class Idle(msgspec.Struct, frozen=True):
    """Cost of an idle chain of `stages` processes, without imports of users."""

    stages: int
    supervisor_rss_mib: float
    supervisor_cpu_percent: float
    stage_rss_mib: dict[str, float]


def measure_restarts(kills: int) -> Restarts:
    """Kill an idle operator again and again.

    Raises
    ------
    MeasurementError
        It does not come back.
    """
    work = ReplicaName("work", 0)
    found_ms = []
    with SupervisedChain(lambda _: idle_chain(1, importing=True)) as chain:
        page = chain.wait_ready(work)
        chain.wait_ready(_SOURCE)
        for _ in range(kills):
            time.sleep(SETTLE_S / 4)
            killed_ns = time.monotonic_ns()
            os.kill(page["pid"], signal.SIGKILL)
            page = chain.wait_ready(work, not_pid=page["pid"])
            found_ms.append((page["ready_since_ns"] - killed_ns) / 1e6)
    return Restarts(found_ms)


def measure_start(stages: int) -> Start:
    """Measure the start and stop of a chain of `stages` processes.

    Raises
    ------
    MeasurementError
        Not all of them get READY.
    """
    with SupervisedChain(lambda _: idle_chain(stages - 2, importing=True)) as chain:
        pages = [chain.wait_ready(name) for name in _names(stages)]
        all_ready_s = (max(page["ready_since_ns"] for page in pages) - chain.begin_ns) / 1e9
        time.sleep(SETTLE_S)
        stop = time.monotonic()
        chain.process.terminate()
        chain.wait()
        return Start(stages, all_ready_s, time.monotonic() - stop)


def measure_idle(stages: int, idle_s: float = IDLE_S) -> Idle:
    """Measure an idle chain of `stages` processes for so long; errors as in `measure_start`."""
    with SupervisedChain(lambda _: idle_chain(stages - 2, importing=False)) as chain:
        for name in _names(stages):
            chain.wait_ready(name)
        time.sleep(SETTLE_S)
        supervisor = psutil.Process(chain.process.pid)
        before_s = _cpu_s(supervisor)
        time.sleep(idle_s)
        return Idle(
            stages,
            _rss_mib(supervisor),
            100.0 * (_cpu_s(supervisor) - before_s) / idle_s,
            {name.stage: _rss_mib(psutil.Process(chain.page(name)["pid"])) for name in _names(3)},
        )


def _names(stages: int) -> list[ReplicaName]:
    return [_SOURCE, *(ReplicaName("work", replica) for replica in range(stages - 2)), _SINK]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _rss_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1024**2
