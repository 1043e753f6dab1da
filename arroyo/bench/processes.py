"""Measured chains of plain processes, which nobody supervises: started, waited for, and ended."""

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
from typing import Literal

import msgspec

from .case import Case, Outcome
from .meter import MeasurementError, outcome_of, read_notes

RUN_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 5.0
STOP_AGAIN_S = 0.5
FIRST_S, QUIET_S = 60.0, 5.0
"""How long the first message may take, and after how much silence there will be no other, where
some may be lost."""
CONNECTED_POLL_S = 0.05
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where the system has it)


class Job(msgspec.Struct, frozen=True):
    """What one process of the chain has to do.

    Attributes
    ----------
    inlet, outlets
        Where its messages come from and go to, in the words of what the chain is made with.
    notes
        Folder for what is measured.
    """

    role: Literal["source", "relay", "sink"]
    inlet: str
    outlets: tuple[str, ...]
    notes: str
    case: Case


def run_processes(
    module: str, case: Case, address: Callable[[Path, str], str], *, lossless: bool = True
) -> Outcome:
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
            # From the sink up: whoever connects finds the address bound.
            sink, *_ = [running.enter_context(_process(module, job)) for job in jobs]
            try:
                sink.wait(RUN_TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                raise MeasurementError(
                    f"the chain of {module} has not finished {case.label} after "
                    f"{RUN_TIMEOUT_S:.0f} s; measure a smaller case"
                ) from error
        return outcome_of(case, read_notes(Path(folder)), lossless=lossless)


def jobs_of(case: Case, folder: Path, address: Callable[[Path, str], str]) -> list[Job]:
    """Return all jobs of a run, from the sink up."""
    below: tuple[str, ...] = (address(folder, "sink"),)
    jobs = [Job("sink", below[0], (), str(folder), case)]
    for stage in reversed(range(case.length)):
        names = tuple(address(folder, f"{stage}.{replica}") for replica in range(case.replicas))
        jobs += [Job("relay", name, below, str(folder), case) for name in names]
        below = names
    return [*jobs, Job("source", "", below, str(folder), case)]


@contextlib.contextmanager
def _process(module: str, job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that is ready, and end it at the end."""
    command = [sys.executable, "-P", "-m", module, msgspec.json.encode(job).decode()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603  (our own module)
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise MeasurementError(
                f"the {job.role} of {module} ended with code {process.wait()} "
                "before it was ready; what it wrote is above"
            )
        yield process
    finally:
        _end(process)
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
    """Return the job of this process, which from now on ends at SIGTERM only."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for whoever started this
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    return msgspec.json.decode(sys.argv[1], type=Job)


def report_ready() -> None:
    """Say that messages may come."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def report_connected(job: Job) -> None:
    """Say to the source that this process hears the one above it; `report_ready` was before."""
    Path(job.notes, f"{job.role}{os.getpid()}.connected").touch()


def wait_connected(job: Job) -> None:
    """Wait until every process hears the one above it; what is sent before may be lost.

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
