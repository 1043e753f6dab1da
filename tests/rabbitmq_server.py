"""A RabbitMQ server for one module of tests: private, on loopback, gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chains import wait_until
from installed import require
from outside import free_port

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""The wrappers in /usr/sbin insist on the user rabbitmq."""
START_S = 60.0
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class RabbitMQServer:
    """A rabbitmq-server that can be stopped, killed and started again on the same port.

    Its data outlive that. It runs with an Erlang port mapper of its own.
    """

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self._mapper_port = free_port()
        (folder / "rabbitmq.conf").write_text(f"loopback_users = none\n{settings}")
        (folder / "enabled_plugins").write_text("[].")
        self._environ = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            # The script then becomes the server, where else it would be its parent.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +S 2:2",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens if it runs."""
        if self._process is not None:
            return
        if self._mapper is None:
            self._mapper = subprocess.Popen(["epmd"], env=self._environ)
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [PROGRAMS / "rabbitmq-server"],
                env=self._environ,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # the server has children
            )
        wait_until(self._answers_or_has_ended, self._explain, START_S)
        assert self._process.poll() is None, self._explain()

    def _answers_or_has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or _answers(self.port)

    def _explain(self) -> str:
        return (self.folder / "out").read_text(errors="replace")

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl`."""
        return subprocess.run(
            [PROGRAMS / "rabbitmqctl", *arguments],
            env=self._environ,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def kill(self) -> None:
        """End it as a power cut would, a little after it has written down which queues it has.

        RabbitMQ confirms a durable queue, and messages in it, before the queue itself is on disk.
        """
        if self._process is not None:
            self.control("eval", "mnesia:sync_log(), mnesia:dump_log().")
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it and wait for its end; nothing happens if it doesn't run."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)
            self._process.wait(timeout=START_S)
            self._process = None

    def close(self) -> None:
        """End it for good, and its port mapper."""
        self._end(signal.SIGKILL)
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
            self._mapper = None


@pytest.fixture(scope="module")
def rabbitmq_programs() -> Path:
    """The folder of the server's programs."""
    require(find_missing())
    return PROGRAMS


@pytest.fixture(scope="module")
def rabbitmq_server(
    rabbitmq_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitMQServer]:
    """A running server for a module, since it takes seconds to start; user guest, guest."""
    server = RabbitMQServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def mortal_rabbitmq_server(rabbitmq_server: RabbitMQServer) -> Iterator[RabbitMQServer]:
    """The module's running server for a test that kills it."""
    try:
        yield rabbitmq_server
    finally:
        rabbitmq_server.start()


def find_missing() -> str:
    """Say what has to be installed; empty if nothing."""
    if (PROGRAMS / "rabbitmq-server").exists() and shutil.which("epmd"):
        return ""
    return "rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(PROTOCOL_HEADER)
            return len(connection.recv(8)) > 0
    except OSError:
        return False
