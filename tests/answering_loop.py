"""A `RequestServer`, and the loop around it."""

import contextlib
import selectors
import socket
import threading

import pytest

from arroyo.control.request_server import RequestServer


class Loop:
    """A selector loop around a server, turned by hand or by a thread."""

    def __init__(self, path, answers):
        self.now = 0.0
        self.path = path
        self.selector = selectors.DefaultSelector()
        self.server = RequestServer(path, self.selector, answers, lambda: self.now)

    def turn(self, timeout_s=0.0):
        for key, _ in self.selector.select(timeout_s):
            key.data()

    @contextlib.contextmanager
    def turning(self):
        done = threading.Event()

        def run():
            while not done.is_set():
                self.turn(0.01)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def connect(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(self.path))
        client.setblocking(False)
        return client

    def close(self):
        self.server.close()
        self.selector.close()


@pytest.fixture
def loop(tmp_path):
    answers = {"status": lambda _: {"state": "READY"}, "long": lambda _: "x" * 3_000_000}
    with contextlib.closing(Loop(tmp_path / "control", answers)) as loop:
        yield loop
