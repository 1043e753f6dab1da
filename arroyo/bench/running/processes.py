"""Runs measured chains of plain processes, without a supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from arroyo.bench.case import Case, Measurement, Role
from arroyo.bench.meter import MeasurementError, measurement_of, read_notes

RUN_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 5.0
STOP_AGAIN_S = 0.5
FIRST_S, QUIET_S = 60.0, 5.0
"""How long the first message may take, and how long a pause means that no other will come, where
messages may be lost."""
CONNECTED_POLL_S = 0.05


class Job(msgspec.Struct, frozen=True):
    """The work of one process of the chain.

    Attributes
    ----------
    inlet, outlets
        Where its messages come from and go to, in the words of what the chain is made with.
    notes
        Folder for what is measured.
    """

    role: Role
    inlet: str
    outlets: tuple[str, ...]
    notes: str
    case: Case


def run_processes(
    module: str, case: Case, address: Callable[[Path, str], str], *, lossless: bool = True
) -> Measurement:
    """Run a chain once.

    Parameters
    ----------
    module
        What each process runs, with its `Job` as JSON. It writes a line when it is ready; the
        sink ends by itself, the others by SIGTERM.
    address
        Makes an inlet of the run's folder and a name.
    lossless
        Whether every message has to arrive.

    Raises
    ------
    MeasurementError
        It did not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="arroyo-bench-") as folder:
        jobs = jobs_of(case, Path(folder), address)
        with contextlib.ExitStack() as running:
            # From the sink up, so that each process connects to an address that is bound.
            sink, *_ = [running.enter_context(_process(module, job)) for job in jobs]
            try:
                sink.wait(RUN_TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                raise MeasurementError(
                    f"the chain of {module} has not finished {case.label} after "
                    f"{RUN_TIMEOUT_S:.0f} s; measure a smaller case"
                ) from error
        return measurement_of(case, read_notes(Path(folder)), lossless=lossless)


def jobs_of(case: Case, folder: Path, address: Callable[[Path, str], str]) -> list[Job]:
    """Return all jobs of a run, from the sink up."""
    below: tuple[str, ...] = (address(folder, "sink"),)
    jobs = [Job("sink", below[0], (), str(folder), case)]
    for stage in reversed(range(case.length)):
        names = tuple(address(folder, f"{stage}.{replica}") for replica in range(case.replicas))
        jobs += [Job("relay", name, below, str(folder), case) for name in names]
        below = names
    return [*jobs, Job("source", "", below, str(folder), case)]


def run_abreast(module: str, case: Case, count: int) -> list[bytes]:
    """Run a module that calls `run_here` in so many processes at once; return what each has found.

    Raises
    ------
    MeasurementError
        One of them has found nothing.
    """
    with contextlib.ExitStack() as running:
        processes = [running.enter_context(_process(module, case)) for _ in range(count)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        found = [process.stdout.read() for process in processes if process.stdout is not None]
        if not all(found):
            raise MeasurementError(f"{module} has found nothing; its output is above")
    return found


def run_here(main: Callable[[Case], Any]) -> None:
    """Run `main` on the case of this process when it is told to, and write what it returns."""
    _leave_by_sigterm()
    case = msgspec.json.decode(sys.argv[1], type=Case)
    report_ready()
    sys.stdin.readline()
    sys.stdout.write(msgspec.json.encode(main(case)).decode())


@contextlib.contextmanager
def _process(module: str, work: Job | Case) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that is ready, and end it on leaving."""
    command = [sys.executable, "-P", "-m", module, msgspec.json.encode(work).decode()]
    process = subprocess.Popen(  # noqa: S603  (our own module)
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise MeasurementError(
                f"a process of {module} ended with code {process.wait()} "
                "before it was ready; its output is above"
            )
        yield process
    finally:
        _end(process)
        process.stdin.close()
        process.stdout.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process by SIGTERM, as often as it takes.

    What a handler raises is lost where the signal meets libzmq calling back for a frame that was
    sent without a copy: Python can only ignore it there.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_AGAIN_S)
            return
    process.kill()
    process.wait()


def read_job() -> Job:
    """Return the job of this process; from now on only SIGTERM ends it."""
    _leave_by_sigterm()
    return msgspec.json.decode(sys.argv[1], type=Job)


def _leave_by_sigterm() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for whoever started this
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())


def report_ready() -> None:
    """Report that messages may come."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def report_connected(job: Job) -> None:
    """Report to the source that this process hears the one above; call `report_ready` first."""
    Path(job.notes, f"{job.role}{os.getpid()}.connected").touch()


def wait_connected(job: Job) -> None:
    """Wait until every process hears the one above it; earlier messages may be lost.

    Raises
    ------
    MeasurementError
        They have not found each other.
    """
    deadline = time.monotonic() + FIRST_S
    while len(list(Path(job.notes).glob("*.connected"))) <= job.case.length:
        if time.monotonic() > deadline:
            raise MeasurementError("the processes of a measured chain have not found each other")
        time.sleep(CONNECTED_POLL_S)
