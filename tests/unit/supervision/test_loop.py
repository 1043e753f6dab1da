"""The loop with real processes, each a small function of a module that the test writes."""

import contextlib
import signal

import msgspec
import pytest

from arroyo.clock import SystemClock
from arroyo.config.folders import Folders
from arroyo.config.graph import Chain, Stage
from arroyo.control.locks import Lock
from arroyo.control.notify import Notifier
from arroyo.supervision.loop import Supervisor
from arroyo.supervision.reporting.event_log import EventLog
from arroyo.supervision.reporting.reporter import Reporter
from arroyo.supervision.watching.event_hook import EventHook
from arroyo.supervision.watching.processes import Spawner
from arroyo.telemetry.event_line import EventLine

STAGE = """
import os, select, signal, socket, sys

def notify(words):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(words, os.environ["NOTIFY_SOCKET"])

def finish(chain, name, run, state, lifeline):
    notify(b"READY=1")
    notify(b"STOPPING=1")

def refuse(chain, name, run, state, lifeline):
    sys.exit(78)

def lose_its_lock(chain, name, run, state, lifeline):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    notify(b"READY=1")
    os.unlink(os.path.join(run, "lock", "supervisor"))
    os.kill(os.getppid(), signal.SIGUSR1)  # which only wakes the loop
    select.select([lifeline], [], [])
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a chain of one listener, whose process is one of the functions above."""
    (tmp_path / "process_of_a_loop.py").write_text(STAGE)
    monkeypatch.syspath_prepend(tmp_path)

    def run(function):
        import process_of_a_loop

        stages = {"work": Stage("work", "listener", "own:Work")}
        chain = Chain("c", tmp_path, tmp_path / "c.toml", stages, env={"PYTHONPATH": str(tmp_path)})
        folders = Folders.at(str(tmp_path / "run"), str(tmp_path / "state"))
        folders.create()
        lock = Lock.acquire(folders.run.lock("supervisor"))
        events = EventLog(folders.run.events, chain.name, SystemClock())
        environ = {"NOTIFY_SOCKET": str(folders.run.notify)}
        supervisor = Supervisor(
            chain,
            folders,
            lock,
            notifier=Notifier(),
            reporter=Reporter(None, False, folders.run, events),
            hook=EventHook(None, tmp_path),
            spawner=Spawner(chain, folders, environ, getattr(process_of_a_loop, function)),
            clock=SystemClock(),
        )
        try:
            with contextlib.closing(supervisor), contextlib.closing(events):
                return supervisor.run()
        finally:
            lock.release()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield run
    signal.pthread_sigmask(signal.SIG_SETMASK, before)  # a supervisor blocks signals at its end


@pytest.fixture
def lines(caplog):
    """Return what the supervisor has reported so far."""
    caplog.set_level("INFO", "arroyo.supervision")
    return lambda: caplog.text


def test_a_chain_whose_listener_finishes_ends_well(run, lines):
    assert run("finish") == 0
    assert "work.0 ready after" in lines()
    assert "chain c ended well after" in lines()


def test_a_stage_that_is_wrongly_configured_ends_the_chain_with_its_code(run, lines):
    assert run("refuse") == 78
    assert "work.0 can not run as it is configured" in lines()


def test_a_chain_whose_run_directory_was_removed_stops(run, lines, tmp_path):
    assert run("lose_its_lock") == 1
    assert f"the removal of its run directory {tmp_path / 'run'}" in lines()
    assert "SIGUSR1 is ignored" in lines()


def test_no_socket_is_left_after_the_end(run, tmp_path):
    run("finish")
    assert list((tmp_path / "run" / "s").iterdir()) == []


def test_the_event_log_says_what_happened_in_order(run, tmp_path):
    run("finish")
    log = Folders.at(str(tmp_path / "run"), "").run.events
    lines = [msgspec.json.decode(line, type=EventLine) for line in log.read_bytes().splitlines()]
    assert [line.event for line in lines] == [
        *("chain-started", "started", "ready", "chain-ready", "finished", "chain-ended")
    ]
    assert [line.stage for line in lines].count("work.0") == 3
    assert [line.monotonic_s for line in lines] == sorted(line.monotonic_s for line in lines)
    assert lines[-1].exit_code == 0
