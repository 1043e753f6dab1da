"""Chains of real processes for tests: make a folder, run it, wait for a condition, look at it.

`chain_stages` has the stages; `LISTENER`, `OPERATOR`, `PUBLISHER` write their tables.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import chain_stages
import pytest
from logged_errors import errors_in, unexpected

from arroyo.config.folders import Folders
from arroyo.config.reader import load_chain
from arroyo.control.accepted_chain import load_accepted
from arroyo.control.locks import owner
from arroyo.errors import ArroyoError
from arroyo.supervision.reporting.history_report import read_history
from arroyo.supervision.reporting.status import read_status

PROGRAMS = Path(sys.executable).parent
DEADLINE_S = 90.0
POLL_S = 0.01
LAST_LINES = 5
MADE = pytest.StashKey[list]()
"""The chains that a test has made."""


class ChainFolder:
    """A folder with a chain file, its stages beside it, and its own run directory.

    Whatever is started from it is ended by `close`.
    """

    def __init__(self, folder, tables, name="numbers"):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "chain.toml"
        self.path.write_text(f'[chain]\nname = "{name}"\n{tables}')
        shutil.copy(chain_stages.__file__, folder / "own_stages.py")
        self.environ = {
            **os.environ,
            "ARROYO_RUN_DIR": str(folder / "run"),
            "ARROYO_STATE_DIR": str(folder / "state"),
        }
        self.run_directory, self.state_directory = Folders.locate(name, self.environ)
        for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM", "ARROYO_DEBUG"):
            self.environ.pop(variable, None)
        self.programs = []

    def edit(self, before, after):
        """Write the chain file with something else in the place of `before`."""
        text = self.path.read_text()
        assert before in text
        self.path.write_text(text.replace(before, after))

    def supervise(self, *options):
        """Start the whole chain."""
        return self.start("arroyo-supervise", *options, self.path)

    def stage(self, name, replica=0):
        """Start one replica by hand."""
        return self.start("arroyo-stage", self.path, name, "--replica", str(replica))

    def python(self, code):
        """Start a program of somebody else in this folder."""
        return self.start("python", "-c", code)

    def start(self, program, *arguments):
        """Start an installed program in this folder."""
        self.programs.append(Program([PROGRAMS / program, *arguments], self.folder, self.environ))
        return self.programs[-1]

    def command(self, *arguments):
        """Run an `arroyo` command; return its standard output."""
        ended = subprocess.run(
            [PROGRAMS / "arroyo", *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def status(self):
        """Each replica's row of `arroyo status`, by its name."""
        found = read_status(load_accepted(self.path, self.environ), self.environ)
        return {f"{row['stage']}.{row['replica']}": row for row in found["stages"]}

    def pids(self):
        """Pid of each replica that runs, by name."""
        locks = self.run_directory.path.glob("lock/*.*")
        found = {lock.name: owner(lock) for lock in sorted(locks)}
        return {name: pid for name, pid in found.items() if pid}

    def wait_until_ready(self):
        """Wait until every replica is READY."""
        wait_until(
            lambda: {row["state"] for row in self.status().values()} == {"READY"},
            lambda: f"{self.states()}\n{self.text()}",
        )

    def states(self):
        return {name: row["state"] for name, row in self.status().items()}

    def lines(self, path="out.jsonl"):
        """What a `Write` has written so far; a line that is being written is left out."""
        file = self.folder / path
        if not file.exists():
            return []
        lines = file.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines if is_whole(line)]

    def count(self, path="out.jsonl"):
        file = self.folder / path
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def wait_for_lines(self, count, path="out.jsonl"):
        """Wait until so many lines are there."""
        wait_until(
            lambda: self.count(path) >= count,
            lambda: f"{self.count(path)} of {count} lines\n{self.text()}",
        )

    def kill(self, name):
        """Kill a replica, once it runs: it may just be about to come back from its last death."""
        wait_until(lambda: name in self.pids(), self.text)
        kill(self.pids()[name])

    def open_gate(self):
        (self.folder / "gate").touch()

    def text(self):
        """What all programs said, for a person who has to find out what went wrong."""
        logs = sorted(self.run_directory.path.glob("log/*.jsonl"))
        said = [f"--- {each.arguments[0].name}\n{each.text}" for each in self.programs]
        ends = ["\n".join(log.read_text().splitlines()[-LAST_LINES:]) for log in logs]
        heads = [f"--- {log.name}" for log in logs]
        return "\n".join(
            [*said, *(f"{head}\n{end}" for head, end in zip(heads, ends, strict=True))]
        )

    def history(self):
        """What each process did last, for the report of a test that has failed."""
        told = []
        for wanted in ("supervisor", *self._replicas()):
            try:
                told.append(read_history(load_chain(self.path), self.environ, wanted))
            except (ArroyoError, OSError) as error:
                told.append(f"{wanted}: {error}\n")
        return "\n".join(told)

    def _replicas(self):
        return [lock.name for lock in sorted(self.run_directory.path.glob("lock/*.*"))]

    def close(self):
        """End what still runs, and wait until nothing of the chain is left."""
        for program in self.programs:
            program.end()
        wait_until(lambda: not self.pids(), lambda: f"left: {self.pids()}\n{self.text()}")
        for program in self.programs:
            program.close()


class Program:
    """A process, with what it says on both outputs kept as it comes."""

    def __init__(self, arguments, folder, environ):
        self.arguments = arguments
        self.lines = []
        self._process = subprocess.Popen(
            list(map(str, arguments)),
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def runs(self):
        return self._process.poll() is None

    def send(self, number):
        self._process.send_signal(number)

    def kill(self):
        """End it as a crash would, and wait for that."""
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def wait(self, deadline_s=DEADLINE_S):
        """Wait for its end; return the exit code."""
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"did not end within {deadline_s:g} s:\n{self.text}")
        self._reader.join(deadline_s)
        return self._process.returncode

    def wait_for(self, words, count=1):
        """Wait until it has said `words` so many times."""
        wait_until(lambda: self.text.count(words) >= count, lambda: f"{words!r} in:\n{self.text}")

    def stop_now(self):
        """Have it end without draining, as who presses Ctrl-C again does."""
        wait_until(lambda: self.send(signal.SIGINT) or not self.runs, lambda: self.text)

    def end(self):
        if self.runs:
            self._process.kill()
        self._process.wait()

    def close(self):
        self._reader.join(DEADLINE_S)
        self._process.stdout.close()


@contextmanager
def unread(chain, program, *arguments):
    """Run a program whose output goes to a pipe that nobody reads."""
    process = subprocess.Popen(
        [PROGRAMS / program, *map(str, arguments)],
        cwd=chain.folder,
        env=chain.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until(condition, explain=lambda: "no more is known", deadline_s=DEADLINE_S):
    """Return what `condition()` gives once it is true; fail with `explain()` where it never is."""
    pause = threading.Event()
    deadline = time.monotonic() + deadline_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {deadline_s:g} s: {explain()}")
        pause.wait(POLL_S)
    return found


def is_whole(line):
    """Whether a line is one; its writer may have been killed in the midst of it."""
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    return True


def is_gone(pid):
    """Whether a process has ended, even if nobody has taken note of it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def listener(name, kind="Count", /, *, keys="", **options):
    """Write the table of a listener of `chain_stages`."""
    return _table("listener", name, kind, keys, options)


def operator(name, kind, inputs, /, *, keys="", **options):
    """Write the table of an operator."""
    return _table("operator", name, kind, f"inputs = {_value(inputs)}\n{keys}", options)


def publisher(name, inputs, kind="Write", /, *, keys="", path="out.jsonl", **options):
    """Write the table of a publisher, which writes `path`."""
    keys = f"inputs = {_value(inputs)}\n{keys}"
    return _table("publisher", name, kind, keys, {"path": path, **options})


def _table(role, name, kind, keys, options):
    target = kind if ":" in kind else f"own_stages:{kind}"
    there = {key: value for key, value in options.items() if value is not None}
    given = ", ".join(f"{key} = {_value(value)}" for key, value in there.items())
    return f'[stages.{name}]\n{role} = "{target}"\n{keys}\noptions = {{ {given} }}\n'


def _value(value):
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_value(each)}' for key, each in value.items())} }}"
    return json.dumps(value)


def indices(lines):
    """The index of each event among `lines`, in order."""
    return [line["metadata"]["index"] for line in lines if line["type"] == "Event"]


def totals(lines):
    """The totals of the only Stop among `lines`."""
    (stop,) = [line for line in lines if line["type"] == "Stop"]
    return stop["data"]["totals"]


@pytest.fixture
def make_chain(tmp_path, request):
    """Make chains of tables; all that was started is ended after the test.

    An ERROR in a stage's log fails the test; see `logged_errors`.
    """
    made = request.node.stash[MADE] = []

    def make(*tables, keys=""):
        folder = tmp_path / f"chain{len(made)}"
        made.append(ChainFolder(folder, f"{keys}\n{''.join(tables)}"))
        return made[-1]

    yield make
    for chain in made:
        chain.close()
    errors = [error for chain in made for error in errors_in(chain.run_directory.path / "log")]
    if errors := unexpected(request.node, errors):
        pytest.fail(f"logged as ERROR: {'; '.join(errors)}")
