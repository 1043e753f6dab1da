import os
import selectors
import signal
from contextlib import closing

import pytest
from log_lines import log_line

from arroyo.config.http_address import HttpAddress
from arroyo.supervision.watching.http_process import HttpProcess
from arroyo.supervision.watching.processes import Exit

LOOPBACK = HttpAddress.parse("127.0.0.1:9464")


class FakeProcess:
    """A process that ends when the test says how."""

    def __init__(self, pid):
        self.pid = pid
        self._reading, self._writing = os.pipe()
        self._status = 0
        self.reaped = False

    def fileno(self):
        return self._reading

    def end(self, status):
        self._status = status
        os.write(self._writing, b"x")

    def send(self, number):
        self.end(-number)

    def reap(self):
        os.close(self._reading)
        os.close(self._writing)
        self.reaped = True
        return Exit(self._status)


class World:
    """A loop that has nothing but the process of the metrics; `now` goes on by hand."""

    def __init__(self, log, address=LOOPBACK):
        self.log = log
        self.now = 100.0
        self.said, self.spawned = [], []
        self.refusal = None
        self.selector = selectors.DefaultSelector()
        self.http = HttpProcess(
            address,
            self.spawn,
            self.selector,
            log,
            say=self.said.append,
            monotonic=lambda: self.now,
        )

    def spawn(self):
        if self.refusal is not None:
            raise self.refusal
        self.spawned.append(FakeProcess(4711 + len(self.spawned)))
        return self.spawned[-1]

    def turn(self, after_s=0.0):
        """One turn of the supervisor's loop."""
        self.now += after_s
        for key, _ in self.selector.select(0):
            key.data()
        self.http.start_if_due()

    def fail(self, status, message=""):
        """Have the process end, with an error in its log."""
        line = log_line("ERROR", message, self.spawned[-1].pid)
        self.log.write_bytes(line if message else b"")
        self.spawned[-1].end(status)
        self.turn(0.2)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "metrics.jsonl")
    with closing(world.selector), closing(world.http):
        yield world


def test_it_is_started_with_the_chain_and_ended_with_it(world):
    assert world.said == ["metrics: http://127.0.0.1:9464/metrics"]
    world.turn()
    assert world.http.pids == {4711}
    world.http.close()
    assert world.spawned[0].reaped
    assert world.http.pids == set()
    assert not world.selector.get_map()


def test_one_that_dies_is_replaced_and_that_is_said(world):
    world.turn()
    world.fail(-signal.SIGKILL)
    assert world.http.pids == {4712}
    said = "metrics was killed (SIGKILL) after 0.2 s; starting it again now"
    assert world.said[1:] == [said]


def test_a_reason_that_stays_the_same_is_said_once(world):
    world.turn()
    for _ in range(4):
        world.fail(75, "the port is in use")
        world.turn(60.0)
    assert len(world.spawned) == 5
    (said,) = world.said[1:]
    assert said == "metrics exited with 75 after 0.2 s: the port is in use; starting it again now"
    world.fail(1, "something else")
    assert len(world.said) == 3


def test_between_two_starts_it_waits(world):
    world.turn()
    world.fail(75)
    world.fail(75)
    assert world.http.pids == set()
    assert world.now < world.http.next_at < world.now + 1.0


def test_one_that_is_wrongly_configured_is_left_alone(world):
    world.turn()
    world.fail(78, "there is no such address")
    world.turn(1000.0)
    assert (len(world.spawned), world.http.next_at) == (1, None)
    assert world.said[-1].endswith(": there is no such address; not starting it again")


def test_one_that_can_not_be_started_is_tried_again(world):
    world.refusal = OSError(11, "no more processes")
    world.turn()
    assert "metrics could not be started: no more processes; trying again in" in world.said[-1]
    world.refusal = None
    world.turn(1.0)
    assert world.http.pids == {4711}


def test_that_others_can_read_the_figures_is_said(tmp_path):
    world = World(tmp_path / "metrics.jsonl", HttpAddress.parse("0.0.0.0:9464"))
    assert world.said[1].startswith("warning: whoever can reach 0.0.0.0:9464")
    world.selector.close()
