"""A Redis server for one test: private, on loopback, gone afterwards."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from chains import wait_until
from installed import require


class RedisServer:
    """A redis-server process that can be stopped and started again on the same port.

    `fsync`: it keeps what it has in a file, flushed as its setting appendfsync says. `options` are
    more of its command line.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        password: str = "",
        fsync: str = "",
        options: Sequence[str] = (),
    ) -> None:
        self.port = _find_free_port()
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--dir", str(folder), "--save", ""]
        self.fsync = fsync
        self._command += ["--daemonize", "no", "--logfile", str(folder / "redis.log")]
        self._command += options
        if password:
            self._command += ["--requirepass", password]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens if it runs."""
        if self._process is not None:
            return
        keep = ["yes", "--appendfsync", self.fsync] if self.fsync else ["no"]
        self._process = subprocess.Popen([*self._command, "--appendonly", *keep])
        wait_until(self._answers_or_has_ended, lambda: "redis-server does not answer")
        assert self._process.poll() is None, f"redis-server ended: {self._command}"

    def _answers_or_has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or _answers(self.port)

    def stop(self) -> None:
        """Stop it and wait for its end; nothing happens if it doesn't run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
            self._process = None

    def kill(self) -> None:
        """End it as a crash would; nothing happens if it doesn't run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=60)
            self._process = None

    close = stop


@pytest.fixture
def redis_program() -> str:
    """Path of redis-server."""
    require(find_missing())
    return str(shutil.which("redis-server"))


@pytest.fixture
def redis_server(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A running server without a password; `port` says where."""
    with _running(RedisServer(redis_program, tmp_path)) as server:
        yield server


@pytest.fixture
def lasting_redis_server(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A running server that keeps all that it has confirmed, whatever ends it."""
    with _running(RedisServer(redis_program, tmp_path, fsync="always")) as server:
        yield server


@pytest.fixture
def locked_redis_server(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A running server whose password is ``sesame``."""
    with _running(RedisServer(redis_program, tmp_path, password="sesame")) as server:
        yield server


@contextmanager
def _running(server: RedisServer) -> Iterator[RedisServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def find_missing() -> str:
    """Say what has to be installed; empty if nothing."""
    if shutil.which("redis-server"):
        return ""
    return "redis-server is not installed (Debian: apt-get install redis-server)"


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    # Without a password the answer is +PONG, with one it is -NOAUTH; -LOADING is not yet.
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
