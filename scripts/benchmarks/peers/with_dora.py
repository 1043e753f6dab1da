"""The chain made with dora-rs: a dataflow of Python nodes under `dora run`, on this host alone.

Its inputs drop the oldest message by default; here they have ``queue_policy: backpressure``, which
its documentation has for what must not be lost, and with which all messages go through its daemon.
What is under way when a node ends may be lost all the same, so the source stays until the sink has
ended, which is why an output of the sink leads to it. The daemon's CPU time counts: the sink adds
it to its own.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from arroyo.bench.case import Case, Measurement
from arroyo.bench.meter import MeasurementError, Meter, measurement_of, read_notes
from arroyo.bench.running.processes import (
    FIRST_S,
    QUIET_S,
    RUN_TIMEOUT_S,
    STOP_TIMEOUT_S,
    Job,
    jobs_of,
    read_job,
)
from arroyo.shared_memory.files import SHARED_MEMORY

QUEUED, POLICY = 1000, "backpressure"
OUTPUT = "out"
_RUN = "import dora_cli; dora_cli.py_main()"


def run_dora(case: Case) -> Measurement:
    """Run the chain once.

    Raises
    ------
    MeasurementError
        It did not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="arroyo-bench-") as folder:
        output = Path(folder, "output.txt")
        with _dataflow(case, Path(folder), output) as process:
            try:
                code = process.wait(RUN_TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                raise MeasurementError(
                    f"dora has not finished {case.label} after {RUN_TIMEOUT_S:.0f} s; "
                    "measure a smaller case"
                ) from error
        if code:
            last_words = output.read_text("utf-8", "replace")[-2000:]
            raise MeasurementError(f"dora ended with code {code}\n{last_words}")
        return measurement_of(case, read_notes(Path(folder)), lossless=False)


@contextlib.contextmanager
def _dataflow(case: Case, folder: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dora run`, and end it with all its nodes at the end."""
    path = folder / "dataflow.yml"
    path.write_bytes(msgspec.json.encode({"nodes": dataflow_nodes(case, folder)}))  # YAML as well
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _RUN, "run", str(path)],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,  # a Ctrl-C is for whoever started this
        )
    try:
        yield process
    finally:
        _end(process)


def dataflow_nodes(case: Case, folder: Path) -> list[dict[str, Any]]:
    """Return the nodes of the dataflow; each is called like its inlet."""
    nodes: list[dict[str, Any]] = []
    jobs = jobs_of(case, folder, lambda _, name: name)
    for above, job in zip([*jobs[1:], None], jobs, strict=True):
        arguments = ["-P", "-m", __spec__.name, msgspec.json.encode(job).decode()]
        inlet = (
            {"source": f"{_name(above)}/{OUTPUT}", "queue_size": QUEUED, "queue_policy": POLICY}
            if above
            else f"{_name(jobs[0])}/{OUTPUT}"  # says when the sink has ended
        )
        nodes.append(
            {
                "id": _name(job),
                "path": sys.executable,
                "args": shlex.join(arguments),
                "inputs": {"messages": inlet},
                "outputs": [OUTPUT],
            }
        )
    return nodes


def _name(job: Job) -> str:
    return job.inlet or job.role


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and what it has started, if it has not ended by itself, and what they share."""
    if process.poll() is not None:
        return
    daemon = psutil.Process(process.pid)
    family = [daemon, *daemon.children(recursive=True)]
    shared = set().union(*map(_shared_memory, family))
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
    psutil.wait_procs(family[1:], STOP_TIMEOUT_S)
    for path in shared:
        path.unlink(missing_ok=True)


def _shared_memory(process: psutil.Process) -> set[Path]:
    """Return the files of shared memory that a process has; their names do not say whose."""
    try:
        paths = {Path(each.path) for each in process.memory_maps()}
    except psutil.Error:
        return set()
    return {path for path in paths if path.parent == SHARED_MEMORY}


def main(job: Job) -> None:
    """Do the work of one process."""
    import dora

    daemon = psutil.Process(os.getppid()) if job.role == "sink" else None
    meter = Meter(job.notes, job.role, job.case.events, daemon)
    node = dora.Node()
    try:
        if job.role == "source":
            _send_all(node, job.case, meter)
        else:
            _receive_all(node, job, meter)
    finally:
        meter.end()


def _send_all(node: Any, case: Case, meter: Meter) -> None:
    import numpy as np
    import pyarrow as pa

    payload = pa.array(np.zeros(case.payload_bytes, np.uint8))
    meter.begin()
    for _ in range(case.events):
        node.send_output(OUTPUT, payload)
    while node.next()["type"] != "STOP":
        pass


def _receive_all(node: Any, job: Job, meter: Meter) -> None:
    patience_s, begun = FIRST_S, False
    while True:
        event = node.next(patience_s if job.role == "sink" else None)
        if event is None or event["type"] == "STOP":
            return
        if event["type"] != "INPUT":
            continue
        if not begun:
            begun = True
            meter.begin()
            patience_s = QUIET_S
        if job.role == "relay":
            node.send_output(OUTPUT, event["value"], event["metadata"])
        elif meter.arrive():
            return


if __name__ == "__main__":
    main(read_job())
