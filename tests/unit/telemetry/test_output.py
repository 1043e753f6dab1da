"""What a process prints: each line in its log, whoever wrote it, and nobody waits."""

import subprocess
import sys

import pytest
from small_disk import fill

from arroyo.telemetry.output import output_file, set_aside

# Standard streams are those of a process, so each test has one of its own.
HEAD = """
import logging, os, signal, subprocess, sys, threading
from pathlib import Path
from arroyo.telemetry import output
from arroyo.telemetry.console import Console

logging.basicConfig(filename="log", level=logging.INFO, format="%(levelname)s %(message)s")

def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    os._exit(9)

out = Path("work.0.out")
"""


@pytest.fixture
def run(tmp_path):
    """Run code in a process; return what is in its log, line by line."""

    def run(code, returncode=0):
        ended = subprocess.run(
            [sys.executable, "-c", HEAD + code],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == returncode, ended.stderr.decode()
        run.shown = ended.stdout.decode()
        log = tmp_path / "log"
        return log.read_text().splitlines() if log.exists() else []

    return run


def test_what_anybody_prints_is_in_the_file_and_in_the_log_in_order(run, tmp_path):
    lines = run("""
captured = output.OutputCapture(out, None)
print("print")
print("to stderr", file=sys.stderr)
os.write(1, b"of C code\\n")
subprocess.run(["echo", "of a child"], check=True)
os.write(2, b"odd \\xff\\n")
print("surrogate \\ud800")
sys.stdout.write("without an end")
captured.close()
""")
    said = ["print", "to stderr", "of C code", "of a child", r"odd \xff", r"surrogate \ud800"]
    assert lines == [f"INFO {line}" for line in [*said, "without an end"]]
    assert (tmp_path / "work.0.out").read_bytes().count(b"\n") == 6
    assert run.shown == ""


def test_it_is_copied_while_the_process_runs(run):
    assert run("""
output.LOOK_S = 0.01
captured = output.OutputCapture(out, None)
print("so far")
wait_until(lambda: "so far" in Path("log").read_text())
os._exit(0)
""") == ["INFO so far"]


def test_a_killed_process_leaves_it_and_the_next_one_keeps_it(run, tmp_path):
    dies = """
captured = output.OutputCapture(out, None)
print("last words")
os.kill(os.getpid(), signal.SIGKILL)
"""
    run(dies, returncode=-9)
    assert (tmp_path / "work.0.out").read_text() == "last words\n"
    run("output.OutputCapture(out, None).close()")
    assert (tmp_path / "work.0.out.1").read_text() == "last words\n"
    assert (tmp_path / "work.0.out").read_text() == ""


def test_a_console_shows_it_too(run):
    lines = run("""
console = Console(1)
captured = output.OutputCapture(out, console)
print("for people")
captured.close()
console.close()
""")
    assert run.shown == "for people\n"
    assert lines == ["INFO for people"]


def test_a_file_that_has_grown_large_is_emptied_once_it_is_read(run, tmp_path):
    lines = run("""
output.LOOK_S, output.FILE_BYTES = 0.01, 1000
captured = output.OutputCapture(out, None)
for number in range(100):
    print(f"{number:020}")
wait_until(lambda: not out.stat().st_size)
print("behind that")
captured.close()
""")
    assert [line for line in lines if "left out" in line] == []
    assert len(lines) == 101
    assert (tmp_path / "work.0.out").read_text() == "behind that\n"


def test_of_more_than_a_log_takes_the_last_is_kept_and_the_rest_told(run):
    lines = run("""
output.BEHIND_BYTES = 10_000
captured = output.OutputCapture(out, None)
captured._logged = output.FollowedFile(out, behind_bytes=1000)
for number in range(10_000):
    print(f"{number:020}")
captured.close()
""")
    assert lines[0].startswith("WARNING ")
    assert "bytes of output left out: more came than the log can take" in lines[0]
    assert lines[-1] == "INFO 00000000000000009999"


PRINT = """
captured = output.OutputCapture(Path({path!r}), None)
print("lost")
print("lost too", file=sys.stderr, flush=True)
captured.close()
"""


def test_without_a_folder_a_print_fails_nobody(run):
    assert run(PRINT.format(path="none/work.0.out")) == []
    assert run.shown == ""


def test_on_a_full_disk_a_print_fails_nobody(run, small_disk):
    disk = small_disk(64)
    path = disk / "work.0.out"
    path.touch()
    fill(disk)
    assert run(PRINT.format(path=str(path))) == []


def test_the_file_is_named_after_the_log(tmp_path):
    assert output_file(tmp_path / "work.0.jsonl") == tmp_path / "work.0.out"


def test_only_what_says_something_is_set_aside(tmp_path):
    path = tmp_path / "work.0.out"
    assert set_aside(path) is None
    path.touch()
    assert set_aside(path) is None
    for text in ("first", "second"):
        path.write_text(text)
        assert set_aside(path).read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["work.0.out.1"]
