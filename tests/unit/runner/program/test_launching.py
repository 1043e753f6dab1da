"""Programs as they are found and started; each runs for moments only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from chains import is_gone, wait_until

from arroyo.runner.program.launching import find_program, launch

IGNORED = ["sed", "-n", "s/^SigIgn:\\s*//p", "/proc/self/status"]


@pytest.fixture
def run(tmp_path):
    """Run a program to its end; returns its exit code and what it printed."""

    def run(*command, environ=os.environ):
        path = tmp_path / "out"
        with path.open("wb") as output:
            code = launch(command, environ, output.fileno()).wait()
        return code, path.read_text()

    return run


def test_a_program_is_installed_or_beside_the_chain_file(tmp_path):
    assert find_program("sh", tmp_path, os.environ)
    assert not find_program("no-such-server", tmp_path, os.environ)
    assert not find_program("sh", tmp_path, {"PATH": str(tmp_path)})
    (tmp_path / "serve").touch(0o700)
    assert find_program("./serve", tmp_path, {})
    assert not find_program("serve", tmp_path, os.environ)


@pytest.mark.parametrize("mode", [0o600, 0o000])
def test_it_must_be_one_that_may_be_run(tmp_path, mode):
    (tmp_path / "notes.txt").touch(mode)
    assert not find_program("./notes.txt", tmp_path, {})
    (tmp_path / "folder").mkdir()
    assert not find_program("./folder", tmp_path, {})


def test_it_gets_its_arguments_as_they_are(run):
    assert run("printf", "%s|", "a b", "$HOME", "*") == (0, "a b|$HOME|*|")


def test_it_gets_the_environment_and_nothing_on_stdin(run):
    assert run("sh", "-c", "echo $FIELD; cat", environ={"FIELD": "7", "PATH": "/bin:/usr/bin"}) == (
        0,
        "7\n",
    )


def test_it_ignores_no_signal_that_python_ignores(run):
    assert run(*IGNORED) == (0, "0000000000000000\n")


def test_one_that_can_not_be_run_says_so(run, tmp_path):
    (tmp_path / "serve").write_text("no program")
    (tmp_path / "serve").chmod(0o700)
    code, said = run(str(tmp_path / "serve"))
    assert code == 1
    assert said == f"{tmp_path / 'serve'} can't be run: Exec format error\n"


def test_it_dies_with_the_process_that_started_it():
    code = (
        "import os, signal; from arroyo.runner.program.launching import launch\n"
        "print(launch(['sleep', '60'], os.environ, None).pid, flush=True); signal.pause()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with starter:
        pid = int(starter.stdout.readline())
        command = Path(f"/proc/{pid}/cmdline")
        wait_until(lambda: command.read_bytes().startswith(b"sleep"))
        starter.kill()
    wait_until(lambda: is_gone(pid))
