"""Chains made with other frameworks run, where those are installed, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from peers.frameworks import OTHERS

from arroyo.bench.case import Case
from arroyo.shared_memory.files import SHARED_MEMORY

ROOT = Path(__file__).parents[2]
SMALL = Case(1024, 200)
LONG = Case(64 * 1024, 10_000_000)
PROCESSES = 4
START_S = 60.0


@pytest.fixture(params=OTHERS, ids=lambda framework: framework.name)
def framework(request):
    return need(request.param)


def need(framework):
    """Return a framework that is installed; else skip the test."""
    if not framework.installed:
        pytest.skip(f"{framework.name} is not installed: pip install 'arroyo[peers]'")
    return framework


@pytest.fixture
def folder(monkeypatch):
    """The only folder for temporary files, with a short name, as sockets need it."""
    shared = foreign_shared_memory()
    with tempfile.TemporaryDirectory(prefix="fw-") as name:
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts" / "benchmarks"))
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)
        assert list(Path(name).iterdir()) == []
        assert processes_in(name) == []
        assert foreign_shared_memory() <= shared


def foreign_shared_memory():
    """What is in shared memory, but for the payloads of Arroyo's chains."""
    return {path for path in SHARED_MEMORY.iterdir() if not path.name.startswith("arroyo-")}


def processes_in(folder):
    """The processes whose command line has this folder."""
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder) in command(path)]


def command(path):
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_chain_of_a_framework_is_measured(framework, folder):
    measurement = framework.run(SMALL)
    assert measurement.messages_per_s > 0
    assert measurement.cpu_us_per_message > 0
    assert 0 < measurement.arrived <= SMALL.events


@pytest.mark.parametrize("size_bytes", [100, 8 * 1024**2])
@pytest.mark.parametrize("name", ["arroyopy", "dora-rs", "iceoryx2"])
def test_what_a_framework_keeps_for_a_slow_stage_arrives(name, size_bytes, folder):
    framework = need(next(each for each in OTHERS if each.name == name))
    case = Case(size_bytes, 64)
    assert framework.run(case).arrived == case.events


def test_a_ctrl_c_ends_a_chain_of_a_framework(framework, folder):
    code = (
        "from arroyo.bench.case import Case\n"
        f"from {framework.run.__module__} import {framework.run.__name__} as run\n"
        f"run({LONG!r})"
    )
    bench = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + START_S
    while len(processes_in(folder)) < PROCESSES and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    os.killpg(bench.pid, signal.SIGINT)  # as a terminal does
    _, errors = bench.communicate(timeout=START_S)
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
