"""Stacks at a crash or on demand, written by a process of its own."""

import os
import signal
import subprocess
import sys

import pytest

from arroyo.control.locks import Lock
from arroyo.control.stacks import (
    request_stacks,
    stacks_file,
    trace_faults,
    without_history,
)
from arroyo.errors import UnavailableError
from arroyo.telemetry.output import set_aside

PROGRAM = """
import os, signal, sys
from pathlib import Path
from arroyo.control.stacks import trace_faults

with trace_faults(Path(sys.argv[1]), lambda: "took batch 17\\n"):
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
print("went on")
"""
IN_C = """
import ctypes, sys
from pathlib import Path
from arroyo.control.locks import Lock
from arroyo.control.stacks import trace_faults

Lock.acquire(Path("{lock}"))
with trace_faults(Path(sys.argv[1]), lambda: ""):
    # Says that it is there when it is in C already; it ends with its input.
    ctypes.CDLL(None).system(b"echo there; read line")
"""


def run(log, signal_name):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, log, signal_name],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
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


def test_on_demand_they_are_written_with_the_history_and_work_goes_on(log):
    assert run(log, "SIGUSR1").stdout == "went on\n"
    text = stacks_file(log).read_text()
    assert 'File "<string>", line 7' in text
    assert text.endswith("--- what led there\ntook batch 17\n--- end\n")
    assert "took" not in without_history(text)
    assert 'File "<string>", line 7' in without_history(text)


@pytest.fixture
def lock(tmp_path):
    held = Lock.acquire(tmp_path / "integrate.0")
    yield held
    held.release()


def test_a_stage_that_is_asked_answers_and_leaves_no_trace(log, lock):
    with trace_faults(log, lambda: "took batch 17\n"):
        first, second = request_stacks(log, lock.path), request_stacks(log, lock.path)
        assert stacks_file(log).stat().st_size == 0
    assert first.endswith("--- what led there\ntook batch 17\n")
    assert "test_stacks.py" in first
    assert second.count("what led there") == 1


def test_what_stood_there_before_stays_and_is_no_answer(log, lock):
    with trace_faults(log, lambda: "took batch 17\n"):
        os.kill(os.getpid(), signal.SIGUSR1)
        before = stacks_file(log).read_text()
        assert before.count("what led there") == 1
        assert request_stacks(log, lock.path).count("what led there") == 1
        assert stacks_file(log).read_text() == before


def test_one_in_code_that_is_not_python_answers_with_its_stacks_alone(log):
    in_c = IN_C.format(lock=log.with_name("lock"))
    with subprocess.Popen(
        [sys.executable, "-c", in_c, log], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"there\n"
        text = request_stacks(log, log.with_name("lock"), answer_s=1.0)
        process.kill()
    assert 'File "<string>"' in text
    assert "no history: for 1 s it was in code that is not Python" in text


def test_one_that_has_ended_is_not_asked(log, tmp_path):
    with pytest.raises(UnavailableError, match=r"integrate\.0 has just ended"):
        request_stacks(log, tmp_path / "integrate.0")


def test_at_the_very_end_a_demand_writes_nothing_anywhere(log):
    with trace_faults(log, lambda: "took batch 17\n"):
        pass
    os.kill(os.getpid(), signal.SIGUSR1)
    assert stacks_file(log).stat().st_size == 0


def test_the_file_is_private_and_begins_empty(log):
    with trace_faults(log, str):
        found = stacks_file(log).stat()
    assert found.st_size == 0
    assert found.st_mode & 0o777 == 0o600


def test_what_a_predecessor_left_is_kept_once(log):
    stacks_file(log).write_text("first")
    with trace_faults(log, str):
        pass
    kept = log.with_name("integrate.0.stacks.1")
    assert kept.read_text() == "first"
    with trace_faults(log, str):
        pass
    assert kept.read_text() == "first"


def test_nothing_is_set_aside_where_nothing_was_written(log):
    assert set_aside(stacks_file(log)) is None
    stacks_file(log).touch()
    assert set_aside(stacks_file(log)) is None


def test_a_stage_starts_where_no_stacks_can_be_written(log):
    with trace_faults(log.parent / "missing" / log.name, str):
        pass
