"""A supervisor without processes: its state machine answers on a real control socket.

`played` gives one whose replicas are all READY and obey: what is told to end does so at once.
`silent_supervisor` is one that answers nothing; this process only has its lock.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading

import pytest
from fake_checks import FakeChecks
from supervised_histories import History

from arroyo.clock import SystemClock
from arroyo.config.folders import Folders
from arroyo.config.reader import load_chain
from arroyo.config.run_directory import ChainNote, RunDirectory
from arroyo.control.locks import Lock
from arroyo.control.request_server import RequestServer
from arroyo.control.shared_folders import settle_folders
from arroyo.supervision.answers import make_answers
from arroyo.supervision.decisions.events import State
from arroyo.supervision.parameter_orders import ParameterOrders
from arroyo.supervision.reporting.event_log import EventLog

TURN_S = 0.01
CHAIN = """
[chain]
name = "chain"
[stages.images]
listener = "own:Images"
[stages.integrate]
operator = "own:Integrate"
parameters = { level = 5, mode = "fast" }
inputs = ["images"]
[stages.patterns]
publisher = "own:Patterns"
inputs = ["integrate"]
"""


@contextlib.contextmanager
def silent_supervisor(file, environ):
    """Start the chain of a file, by a supervisor that answers nothing; yield its folders' run."""
    chain = load_chain(file, environ)
    run_directory = Folders.locate(chain.name, environ).run
    run_directory.create()
    lock = Lock.acquire(run_directory.lock("supervisor"))
    try:
        settle_folders(chain, environ, lock)
        accept(run_directory, chain.text)
        yield run_directory
    finally:
        lock.release()


def accept(run_directory, text):
    """Have the chain go on with this text of its file."""
    run_directory.keep_version(text)
    run_directory.accept_version(text)


class PlayedSupervisor:
    """Turns its loop in a thread until the chain has ended, and leaves an account then."""

    def __init__(self, folder):
        self.path = folder / "chain.toml"
        self.path.write_text(CHAIN)
        self.history = History().all_ready()
        self.run_directory = RunDirectory.locate("chain", os.environ)
        self.run_directory.create()
        self.run_directory.write_note(ChainNote("chain", self.path, folder))
        self._lock = Lock.acquire(self.run_directory.lock("supervisor"))
        self._selector = selectors.DefaultSelector()
        self.checks = FakeChecks(self.history.chain)
        self.noted = []
        self.on_turn = lambda: None
        """Called again and again, in the thread of the loop."""
        answers = make_answers(
            self.history.machine,
            self.do,
            lambda *_: None,
            lambda *told: self.noted.append(told),
            lambda: self.history.now,
            chain_checks=self.checks,
            parameters=ParameterOrders(
                load_chain(self.path), lambda _: (), self.run_directory.parameters, self
            ),
        )
        self._server = RequestServer(
            self.run_directory.control, self._selector, answers, lambda: self.history.now
        )
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def note_set(self, *_):
        """Tell nobody."""

    def do(self, event):
        told = len(self.history.signals)
        self.history.do(event)
        self._obey(told)

    def _obey(self, told):
        for name, number in self.history.signals[told:]:
            if number == signal.SIGTERM:
                self.end(name)

    def end(self, name):
        """End a process as it was told to, and what has nothing above it then."""
        told = len(self.history.signals)
        self.history.end(name)
        for other, _ in self.history.signals[told:]:
            self.end(other)

    def bring_up(self):
        """Have what starts be READY."""
        for replica in self.history.machine.replicas:
            if replica.state is State.STARTING:
                told = len(self.history.signals)
                self.history.ready(str(replica.name))
                self._obey(told)

    def _run(self):
        while not self._done.is_set() and self.history.exit_code is None:
            for key, _ in self._selector.select(TURN_S):
                key.data()
            self.on_turn()
        # What is being answered goes out before the socket closes.
        for key, _ in self._selector.select(TURN_S):
            key.data()
        self._server.close()
        self._selector.close()
        with contextlib.closing(
            EventLog(self.run_directory.events, "chain", SystemClock())
        ) as events:
            text = f"chain chain ended with {self.history.exit_code}"
            events.note("chain-ended", text, exit_code=self.history.exit_code)
        self._lock.release()

    def close(self):
        self._done.set()
        self._thread.join()


@pytest.fixture
def played(tmp_path, monkeypatch):
    monkeypatch.setenv("ARROYO_RUN_DIR", str(tmp_path / "run"))
    with contextlib.closing(PlayedSupervisor(tmp_path)) as made:
        yield made
