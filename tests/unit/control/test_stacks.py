"""Stacks at a crash or on demand, written by a process of its own."""

import subprocess
import sys

import pytest

from arroyo.control.stacks import set_aside, stacks_file, trace_faults

PROGRAM = """
import os, signal, sys
from pathlib import Path
from arroyo.control.stacks import trace_faults

with trace_faults(Path(sys.argv[1])):
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
print("went on")
"""


def run(log, signal_name):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, log, signal_name],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )


@pytest.fixture
def log(tmp_path):
    return tmp_path / "integrate.0.jsonl"


def test_the_stacks_are_beside_the_log(log):
    assert stacks_file(log).name == "integrate.0.stacks"


def test_a_fatal_signal_leaves_the_stacks(log):
    assert run(log, "SIGSEGV").returncode == -11
    text = stacks_file(log).read_text()
    assert "Segmentation fault" in text
    assert 'File "<string>", line 7' in text


def test_on_demand_they_are_written_and_work_goes_on(log):
    assert run(log, "SIGUSR1").stdout == "went on\n"
    assert 'File "<string>", line 7' in stacks_file(log).read_text()


def test_the_file_is_private_and_begins_empty(log):
    with trace_faults(log):
        found = stacks_file(log).stat()
    assert found.st_size == 0
    assert found.st_mode & 0o777 == 0o600


def test_what_a_predecessor_left_is_kept_once(log):
    stacks_file(log).write_text("first")
    with trace_faults(log):
        pass
    kept = log.with_name("integrate.0.stacks.1")
    assert kept.read_text() == "first"
    with trace_faults(log):
        pass
    assert kept.read_text() == "first"


def test_nothing_is_set_aside_where_nothing_was_written(log):
    assert set_aside(stacks_file(log)) is None
    stacks_file(log).touch()
    assert set_aside(stacks_file(log)) is None


def test_a_stage_starts_where_no_stacks_can_be_written(log):
    with trace_faults(log.parent / "missing" / log.name):
        pass
