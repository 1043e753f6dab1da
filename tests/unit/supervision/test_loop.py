"""The supervisor's loop over processes that are not there: each is a descriptor and a script."""

import os
import signal
from errno import EAGAIN

import pytest
from stage_fakes import line_of

from arroyo.clock import SystemClock
from arroyo.config.folders import Folders
from arroyo.control.locks import Lock
from arroyo.identifiers import ReplicaName
from arroyo.supervision.loop import Supervisor
from arroyo.supervision.reporting.console_report import ConsoleReport
from arroyo.supervision.watching.processes import Exit

SRC, SINK = ReplicaName("src", 0), ReplicaName("sink", 0)
# Beyond what the kernel gives to anybody.
FIRST_PID = 1 << 30


class ScriptedProcess:
    """Ends when it is told to; `said`: where what it says goes."""

    def __init__(self, pid, said):
        self.pid = pid
        self.said = said
        self.signals = []
        self.status = None
        self._ended = os.eventfd(0)

    def fileno(self):
        return self._ended

    def send(self, number):
        self.signals.append(number)
        if number == signal.SIGTERM:
            self.finish()
        else:
            self.end(-number)

    def finish(self):
        self.said.append((self.pid, {"STOPPING": "1"}))
        self.end(0)

    def end(self, status):
        if self.status is None:
            self.status = status
            os.eventfd_write(self._ended, 1)

    def reap(self):
        os.close(self._ended)
        return Exit(self.status)


class ScriptedSpawner:
    """Makes such processes; the first `failures` attempts find no process to be had."""

    def __init__(self, failures=0):
        self.made = []
        self.said, self.heard = [], []
        self._failures = failures

    def spawn(self, name):
        if self._failures:
            self._failures -= 1
            raise OSError(EAGAIN, os.strerror(EAGAIN))
        process = ScriptedProcess(FIRST_PID + len(self.made), self.said)
        self.made.append((name, process))
        self.said.append((process.pid, {"READY": "1"}))
        return process

    def last(self, name):
        return [process for other, process in self.made if other == name][-1]


class ScriptedWords:
    """Brings what the processes say."""

    def __init__(self, said, heard):
        self._said, self._heard = said, heard

    def receive(self):
        new, self._said[:] = self._said[:], []
        self._heard += new
        return new


class NotedConsole:
    """Keeps the lines of the console."""

    is_ready = False

    def __init__(self):
        self.lines = []

    def write(self, line):
        self.lines.append(line)


class NotedNotifier:
    """Keeps what systemd is told."""

    watchdog_interval_s = None

    def __init__(self):
        self.said = []

    def ready(self, status):
        self.said.append(f"ready: {status}")

    def stopping(self):
        self.said.append("stopping")

    def watchdog(self):
        pass


class Scene:
    """A supervisor of a source and a sink."""

    def __init__(self, folder, spawner):
        chain = line_of(
            folder, ("listener", "src", "own:Src", {}), ("publisher", "sink", "own:Sink", {})
        )
        chain.path.write_text("")
        folders = Folders.at(str(folder / "run"), str(folder / "state"))
        folders.create()
        self.lock = Lock.acquire(folders.run.lock("supervisor"))
        self.console, self.notifier, self.spawner = NotedConsole(), NotedNotifier(), spawner
        self.supervisor = Supervisor(
            chain,
            folders,
            self.lock,
            notifier=self.notifier,
            console=self.console,
            account=ConsoleReport(colour=False),
            target=lambda *_: None,
            clock=SystemClock(),
        )
        self.supervisor._spawner = spawner
        self.supervisor._words = ScriptedWords(spawner.said, spawner.heard)

    def finish(self, name):
        """A stage ends as one that has finished."""
        self.spawner.last(name).finish()

    def run(self, *steps):
        """Run it; each step is taken once all is ready, one in each turn of the loop."""
        left = list(steps)

        def ready(status):
            self.notifier.said.append(f"ready: {status}")
            self.supervisor._look_for_removal = step

        def step():
            if left:
                left.pop(0)()

        self.notifier.ready = ready
        return self.supervisor.run()

    def close(self):
        self.supervisor.close()
        self.lock.release()


@pytest.fixture
def scene(tmp_path):
    scenes = []

    def make(**options):
        scenes.append(Scene(tmp_path, ScriptedSpawner(**options)))
        return scenes[-1]

    yield make
    for each in scenes:
        each.close()


def test_a_chain_whose_stages_finish_ends_with_0_and_says_what_happened(scene):
    made = scene()
    assert made.run(lambda: made.finish(SRC), lambda: made.finish(SINK)) == 0
    text = "\n".join(made.console.lines)
    for line in ("2 stages, 2 processes", "all ready after", "src.0 finished", "sink.0 finished"):
        assert line in text
    assert made.notifier.said == ["ready: 2 processes ready"]


def test_a_process_that_is_killed_is_replaced(scene):
    made = scene()
    dead = []

    def kill():
        dead.append(made.spawner.last(SINK))
        dead[0].end(-signal.SIGKILL)

    assert made.run(kill, lambda: made.finish(SRC), lambda: made.finish(SINK)) == 0
    assert [name for name, _ in made.spawner.made].count(SINK) == 2
    assert made.spawner.last(SINK) is not dead[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_the_source_and_then_the_sink(scene, number):
    made = scene()
    assert made.run(lambda: os.kill(os.getpid(), number)) == 0
    ended = [
        line.split()[0] for line in made.console.lines if "ended" in line or "finished" in line
    ]
    assert ended.index("src.0") < ended.index("sink.0")
    assert made.spawner.last(SRC).signals[0] == signal.SIGTERM


def test_a_signal_without_a_meaning_is_told_and_ends_nothing(scene):
    made = scene()
    code = made.run(
        lambda: os.kill(os.getpid(), signal.SIGUSR1),
        lambda: None,
        lambda: made.finish(SRC),
        lambda: made.finish(SINK),
    )
    assert code == 0
    assert any("SIGUSR1 is ignored" in line for line in made.console.lines)


def test_a_process_that_can_not_be_had_is_tried_again(scene):
    made = scene(failures=1)
    assert made.run(lambda: made.finish(SRC), lambda: made.finish(SINK)) == 0
    assert any(os.strerror(EAGAIN) in line for line in made.console.lines)


def test_words_of_strangers_are_not_heard(scene):
    made = scene()
    made.spawner.said.append((FIRST_PID - 1, {"READY": "1"}))
    assert made.run(lambda: made.finish(SRC), lambda: made.finish(SINK)) == 0
