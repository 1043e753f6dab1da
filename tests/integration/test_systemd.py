"""The units of a chain, started in the way systemd starts them, without systemd.

`Manager` reads what `arroyo units` writes and keeps to its promises: order, environment,
readiness, watchdog, signals. The stages can't tell the difference.
"""

import os
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chains import wait_until

from arroyo.config.reader import load_chain
from arroyo.control.notify import NotifySocket
from arroyo.supervision.units import render_units

PROGRAMS = Path(sys.executable).parent
DEADLINE_S = 90.0
WATCHDOG_USEC = 1_000_000  # instead of the units' own, which is long for a test
EVENTS = 500

CHAIN = """
[chain]
name = "numbers"

[stages.count]
listener = "numbers_stages:Count"
options = { events = 500 }

[stages.double]
operator = "numbers_stages:Double"
inputs = ["count"]
replicas = 2

[stages.write]
publisher = "numbers_stages:Write"
inputs = ["double"]
options = { path = "numbers.txt" }
"""

STAGES = """
import threading
from arroyo import Event, Listener, Operator, Publisher, Start, Stop

class Count(Listener):
    def __init__(self, operator, events):
        super().__init__(operator)
        self.events = events
        self.stopped = threading.Event()

    def start(self):
        self.operator.process(Start({"title": "numbers"}))
        for number in range(self.events):
            self.operator.process(Event({"number": number}, b"x"))
        self.stopped.wait()
        self.operator.process(Stop({}))

    def stop(self):
        self.stopped.set()

class Double(Operator):
    def process(self, message):
        if isinstance(message, Event):
            return Event({"number": 2 * message.metadata["number"]}, message.payload)
        return message

class Write(Publisher):
    def __init__(self, path):
        self.path = path

    def publish(self, message):
        text = str(message.metadata["number"]) if isinstance(message, Event) else \
            type(message).__name__
        with open(self.path, "a") as lines:
            print(text, file=lines)
"""


def read_unit(text):
    values = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            values.setdefault(key, []).extend(shlex.split(value))
    return values


class Manager:
    """Starts and stops services as systemd does."""

    def __init__(self, folder):
        self.folder = folder
        chain = load_chain(folder / "chain.toml", {})
        rendered = render_units(chain, PROGRAMS, "arroyo")
        self.units = {}
        for name, text in rendered.items():
            stem, at, ending = name.partition("@")
            replicas = chain.stages[stem.removeprefix("arroyo-numbers-")].replicas if at else 1
            for number in map(str, range(replicas)):
                instance = f"{stem}@{number}{ending}" if at else name
                self.units[instance] = read_unit(text.replace("%i", number))
        self.notify = NotifySocket(folder / "notify")
        self.processes = {}
        self.said = {}

    def start(self, name):
        """Start a service and wait until it says that it is ready."""
        unit = self.units[name]
        environ = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": str(self.notify.path),
            "WATCHDOG_USEC": str(WATCHDOG_USEC),
        }
        for key, parent in (("RuntimeDirectory", "run"), ("StateDirectory", "state")):
            made = self.folder / parent / unit[key][0]
            made.mkdir(0o700, parents=True, exist_ok=True)
            environ[{"run": "RUNTIME_DIRECTORY", "state": "STATE_DIRECTORY"}[parent]] = str(made)
        # Only the process itself knows its pid before it is replaced by the program.
        command = ["/bin/sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", *unit["ExecStart"]]
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                command, env=environ, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes[name] = process
        self.wait(name, lambda fields: fields.get("READY") == "1")

    def wait(self, name, condition):
        """Wait until the service has said something of which `condition` holds."""
        process = self.processes[name]
        deadline = time.monotonic() + DEADLINE_S
        while not any(map(condition, self.said.get(process.pid, []))):
            assert process.poll() is None, f"{name} ended:\n{self.log(name)}"
            assert time.monotonic() < deadline, f"{name} says nothing:\n{self.log(name)}"
            select.select([self.notify], [], [], 0.1)
            self.listen()

    def listen(self):
        for pid, fields in self.notify.receive():
            self.said.setdefault(pid, []).append(fields)

    def has_said(self, name, key):
        """Whether the service has said ``key=1``."""
        said = self.said.get(self.processes[name].pid, [])
        return any(fields.get(key) == "1" for fields in said)

    def stop(self, name):
        """Ask a service to stop and wait for its end; return its exit status."""
        process = self.processes[name]
        process.send_signal(getattr(signal, self.units[name].get("KillSignal", ["SIGTERM"])[0]))
        process.wait(DEADLINE_S)
        self.listen()
        return process.returncode

    def order(self):
        """Stage services such that each comes after those of its After=."""
        names = [name for name in self.units if name.startswith("arroyo-numbers-")]
        ordered = []
        while len(ordered) < len(names):
            ordered += [
                name
                for name in names
                if name not in ordered
                and all(after in ordered for after in self.units[name]["After"] if after in names)
            ]
        return ordered

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def close(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        self.notify.close()


@pytest.fixture
def manager(tmp_path):
    (tmp_path / "chain.toml").write_text(CHAIN)
    (tmp_path / "numbers_stages.py").write_text(STAGES)
    manager = Manager(tmp_path)
    yield manager
    manager.close()


def written(folder):
    path = folder / "numbers.txt"
    return path.read_text().split() if path.exists() else []


ALL_NUMBERS = sorted(2 * number for number in range(EVENTS))


def test_stage_units_form_a_chain_that_works_and_stops_clean(manager, tmp_path):
    order = manager.order()
    assert order[0] == "arroyo-numbers-write.service"
    assert order[-1] == "arroyo-numbers-count.service"
    for name in order:
        manager.start(name)
    for name in order:
        manager.wait(name, lambda fields: fields.get("WATCHDOG") == "1")
    wait_until(lambda: len(written(tmp_path)) == 1 + EVENTS)
    for name in reversed(order):
        assert manager.stop(name) == 0, manager.log(name)
        assert manager.has_said(name, "STOPPING")
    first, *numbers, last = written(tmp_path)
    assert (first, last) == ("Start", "Stop")
    assert sorted(map(int, numbers)) == ALL_NUMBERS


def test_stage_units_started_in_the_wrong_order_work_all_the_same(manager, tmp_path):
    order = manager.order()
    for name in reversed(order):
        manager.start(name)
    wait_until(lambda: len(written(tmp_path)) == 1 + EVENTS)
    for name in reversed(order):
        assert manager.stop(name) == 0, manager.log(name)
    assert written(tmp_path)[-1] == "Stop"


def test_a_killed_stage_is_ready_again_when_its_unit_is_restarted(manager, tmp_path):
    order = manager.order()
    for name in order:
        manager.start(name)
    wait_until(lambda: len(written(tmp_path)) == 1 + EVENTS)
    killed = manager.processes["arroyo-numbers-double@1.service"]
    killed.kill()
    killed.wait()
    manager.start("arroyo-numbers-double@1.service")
    for name in reversed(order):
        assert manager.stop(name) == 0, manager.log(name)
    assert written(tmp_path)[-1] == "Stop"


def test_a_unit_with_a_stage_that_is_not_there_ends_with_a_status_that_prevents_restarts(
    manager, tmp_path
):
    unit = manager.units["arroyo-numbers-write.service"]
    command = [word.replace("write", "wrote") for word in unit["ExecStart"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert str(done.returncode) in unit["RestartPreventExitStatus"]
    assert "wrote" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_supervised_unit_is_ready_feeds_the_watchdog_and_stops_clean(manager, tmp_path):
    name = "arroyo-numbers.service"
    manager.start(name)
    manager.wait(name, lambda fields: fields.get("WATCHDOG") == "1")
    wait_until(lambda: len(written(tmp_path)) == 1 + EVENTS)
    assert set(manager.said) == {manager.processes[name].pid}  # stages talk to the supervisor
    assert manager.stop(name) == 0, manager.log(name)
    assert manager.has_said(name, "STOPPING")
    assert written(tmp_path)[-1] == "Stop"
