"""Processes of a chain by replica, each a small function of a module that the test writes."""

import contextlib
import os
import selectors
import signal

import pytest
from chains import DEADLINE_S

from arroyo.config.folders import Folders
from arroyo.config.graph import Chain, Stage
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.watching.health_monitor import LOOK_EVERY_S
from arroyo.supervision.watching.process_table import ProcessTable
from arroyo.supervision.watching.processes import Spawner

NAME = ReplicaName("work", 0)
STAGE = """
import os, select, socket

def main(chain, name, run, state, lifeline):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        taken = b"X_PARAMETERS=3 it is negative"
        for words in (b"READY=1", taken, b"STATUS=the disk is full\\nSTOPPING=1"):
            speaker.sendto(words, os.environ["NOTIFY_SOCKET"])
    select.select([lifeline], [], [])
"""


class Loop:
    """A table, and what it tells whoever polls."""

    def __init__(self, folder):
        import process_that_speaks

        stages = {"work": Stage("work", "operator", "own:Work")}
        chain = Chain("c", folder, folder / "c.toml", stages, env={"PYTHONPATH": str(folder)})
        folders = Folders.at(str(folder / "run"), str(folder / "state"))
        folders.run.create()
        told = {"NOTIFY_SOCKET": str(folders.run.notify)}
        self.heard, self.ended = [], []
        self.selector = selectors.DefaultSelector()
        self.table = ProcessTable(
            chain,
            folders,
            Spawner(chain, folders, told, process_that_speaks.main),
            self.selector,
            on_notification=lambda: self.heard.extend(self.table.notifications()),
            on_end=self.ended.append,
        )

    def poll_until(self, condition):
        while not condition():
            ready = self.selector.select(DEADLINE_S)
            assert ready, "nothing came"
            for key, _ in ready:
                key.data()

    def close(self):
        self.table.close()
        self.selector.close()


@pytest.fixture
def loop(tmp_path, monkeypatch):
    (tmp_path / "process_that_speaks.py").write_text(STAGE)
    monkeypatch.syspath_prepend(tmp_path)
    with contextlib.closing(Loop(tmp_path)) as made:
        yield made


def test_a_process_is_heard_and_reaped_with_what_it_said(loop):
    started = loop.table.spawn(NAME, now=0.0)
    assert started == ev.ProcessStarted(NAME, *loop.table.pids)
    loop.poll_until(lambda: len(loop.heard) == 3)
    assert loop.heard == [
        ev.Ready(NAME),
        ev.ParametersTaken(NAME, 3, "it is negative"),
        ev.Stopping(NAME),
    ]
    loop.table.send(NAME, signal.SIGKILL)
    loop.poll_until(lambda: loop.ended)
    ended, page = loop.table.take_end(NAME, hung="")
    assert (ended.replica, ended.status, page) == (NAME, -signal.SIGKILL, {})
    assert ended.evidence.said == "the disk is full"
    assert list(loop.table) == [] and loop.table.look_at is None


def test_a_process_that_stands_still_is_seen(loop):
    loop.table.spawn(NAME, now=0.0)
    assert loop.table.look_at == LOOK_EVERY_S
    loop.table.send(NAME, signal.SIGSTOP)
    (pid,) = loop.table.pids
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    (change,) = loop.table.look(1.0)
    assert change == ev.ConditionChanged(NAME, Condition.STOPPED, 0.0)
    assert loop.table.idle_since(NAME) == 0.0, "it has no status page"
    loop.table.send(NAME, signal.SIGKILL)
    loop.poll_until(lambda: loop.ended)
    loop.table.take_end(NAME, hung="")


def test_a_signal_to_a_replica_without_a_process_goes_nowhere(loop):
    loop.table.send(NAME, signal.SIGTERM)
    assert loop.table.pids == set()
