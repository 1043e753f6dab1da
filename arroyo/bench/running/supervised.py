"""Runs measured chains of Arroyo under a real supervisor, with a chain file written for each."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from arroyo.bench.case import Case, Measurement
from arroyo.bench.meter import MeasurementError, measurement_of, read_notes
from arroyo.config.reader import load_chain
from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName
from arroyo.telemetry.status_page import read_status_page

_STAGES = "arroyo.bench.stages.event_stages"
_FRAME_STAGES = "arroyo.bench.stages.frame_stages"
_SUPERVISE = "from arroyo.cli.supervise import main; main()"
RUN_TIMEOUT_S = 300.0
READY_TIMEOUT_S = 60.0
POLL_S = 0.0005
"""How often status pages are read; they hold the times, so precision does not depend on it."""


class SupervisedChain:
    """A chain that runs under `arroyo-supervise` within a folder of its own; a context manager.

    Parameters
    ----------
    chain_file
        Makes the text of the chain file, of a folder that the stages may use.
    """

    def __init__(self, chain_file: Callable[[Path], str]) -> None:
        self._chain_file = chain_file

    def __enter__(self) -> SupervisedChain:
        self._temporary = tempfile.TemporaryDirectory(prefix="arroyo-bench-")
        self.folder = Path(self._temporary.name)
        chain_path = self.folder / "chain.toml"
        chain_path.write_text(self._chain_file(self.folder), "utf-8")
        environ = {
            **os.environ,
            "ARROYO_RUN_DIR": str(self.folder / "run"),
            "ARROYO_STATE_DIR": str(self.folder / "state"),
        }
        self.directory = RunDirectory.locate(load_chain(chain_path).name, environ)
        self.begin_ns = time.monotonic_ns()
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603  (our own module)
                [sys.executable, "-P", "-c", _SUPERVISE, str(chain_path)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environ,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self._temporary.cleanup()

    @property
    def _output(self) -> Path:
        return self.folder / "output.txt"

    def page(self, name: ReplicaName) -> Mapping[str, int]:
        """Return a replica's status page; zeros where there is none yet."""
        return read_status_page(self.directory.status_page(name)) or {"pid": 0, "ready_since_ns": 0}

    def wait_ready(self, name: ReplicaName, *, not_pid: int = 0) -> Mapping[str, int]:
        """Return the status page of a replica once it is READY in a process other than `not_pid`.

        Raises
        ------
        MeasurementError
            It does not get READY.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            page = self.page(name)
            if page["ready_since_ns"] and page["pid"] != not_pid:
                return page
            time.sleep(POLL_S)
        raise MeasurementError(f"{name} of a measured chain was not ready\n{self._last_words()}")

    def wait(self) -> None:
        """Wait until the chain ends by itself.

        Raises
        ------
        MeasurementError
            It does not end, or not well.
        """
        try:
            code = self.process.wait(RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise MeasurementError(
                f"a measured chain has not finished after {RUN_TIMEOUT_S:.0f} s; "
                f"measure a smaller case\n{self._last_words()}"
            ) from error
        if code:
            raise MeasurementError(f"a measured chain ended with code {code}\n{self._last_words()}")

    def _last_words(self) -> str:
        return self._output.read_text("utf-8", "replace")[-2000:]


def run_supervised(case: Case, *, best_effort: bool = False) -> Measurement:
    """Run a case once as a supervised chain, reliable or not.

    Raises
    ------
    MeasurementError
        It did not come to its end.
    """
    keys = 'delivery = "best-effort"' if best_effort else ""
    with SupervisedChain(lambda folder: case_chain(case, folder / "notes", keys)) as chain:
        notes = chain.folder / "notes"
        notes.mkdir()
        chain.wait()
        return measurement_of(case, read_notes(notes))


def case_chain(case: Case, notes: Path, source_keys: str = "") -> str:
    """Return the chain file of a case, whose stages write into the folder `notes`."""
    listener, operator = _stages_of(case)
    source: dict[str, float] = {"events": case.events, "payload_bytes": case.payload_bytes}
    if case.interval_s:
        source["interval_s"] = case.interval_s
    work = {"pixels": case.pixels} if case.pixels else {}
    lines = [
        '[chain]\nname = "bench"',
        f'[stages.source]\nlistener = "{listener}"\n{_options(notes, source)}',
        source_keys,
    ]
    above = "source"
    for number in range(1, case.length + 1):
        lines += [
            f'[stages.work{number}]\noperator = "{operator}"\n{_options(notes, work)}',
            f'inputs = ["{above}"]\nreplicas = {case.replicas}',
        ]
        above = f"work{number}"
    sink = "ListSink" if case.work == "lists" else "Sink"
    lines += [
        f'[stages.sink]\npublisher = "{_STAGES}:{sink}"\ninputs = ["{above}"]',
        _options(notes, {"events": case.events}),
    ]
    return "\n".join(lines)


def _stages_of(case: Case) -> tuple[str, str]:
    """Return the classes of the source and of the stages in between."""
    if not case.frames:
        passes = "PassThroughLists" if case.work == "lists" else "PassThrough"
        return f"{_STAGES}:EventSource", f"{_STAGES}:{passes}"
    source = "FillingSource" if case.work == "fill" else "FrameSource"
    operators = {
        "pass": f"{_STAGES}:PassThrough",
        "transform": f"{_FRAME_STAGES}:TransformFrames",
        "integrate": f"{_FRAME_STAGES}:IntegrateFrames",
    }
    reading = f"{_FRAME_STAGES}:ReadFrames"
    return f"{_FRAME_STAGES}:{source}", operators.get(case.work, reading)


def _options(notes: Path, options: Mapping[str, float]) -> str:
    """Return the options of a stage, as a line of the chain file."""
    pairs = [f'notes = "{notes}"', *(f"{name} = {value}" for name, value in options.items())]
    return f"options = {{ {', '.join(pairs)} }}"


def idle_chain(operators: int, *, importing: bool) -> str:
    """Return the chain file of a chain that does nothing: source, replicas of one operator, sink.

    Any number of kills of it is forgiven at once: `importing` chains are there to be killed.
    """
    module, prefix = (
        ("arroyo.bench.stages.importing_stages", "Importing") if importing else (_STAGES, "Idle")
    )
    return f"""
[chain]
name = "bench"
[supervisor]
max_restarts = 1000
chain_max_restarts = 1000
[stages.source]
listener = "{module}:{prefix}Source"
[stages.work]
operator = "{module}:{prefix}Operator"
inputs = ["source"]
replicas = {operators}
backoff_s = 1e-6
[stages.sink]
publisher = "{module}:{prefix}Sink"
inputs = ["work"]
"""
