"""Connectors of the stand-in for a broker: small, and they keep every line of the contract.

A chain's stages find this file beside the chain file.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from arroyo import MessageParser, Publisher, UnavailableError
from arroyo.connectors.parsing import ParsingListener, TolerantParser, make_parser
from arroyo.connectors.wire_format import write_outward


class Peer:
    """One end of a connection that carries msgpack, each behind its length."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")

    def send(self, value: Any) -> None:
        body = msgspec.msgpack.encode(value)
        self._connection.sendall(len(body).to_bytes(4, "big") + body)

    def receive(self) -> Any:
        length = self._file.read(4)
        if len(length) < 4:
            raise ConnectionResetError("the broker has closed the connection")
        return msgspec.msgpack.decode(self._file.read(int.from_bytes(length, "big")))

    def ask(self, *request: Any) -> Any:
        self.send(request)
        return self.receive()

    def close(self) -> None:
        # Whoever waits for an answer would not notice close() alone.
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._connection.close()


class Connected:
    """A way to the server; what breaks it becomes an UnavailableError."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._peer: Peer | None = None

    def open(self) -> None:
        with self._explained():
            self._peer = Peer(socket.create_connection(("127.0.0.1", self._port), 5))

    def ask(self, *request: Any) -> Any:
        with self._lock, self._explained():
            assert self._peer is not None
            return self._peer.ask(*request)

    def close(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    @contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"the broker at 127.0.0.1:{self._port} can't be reached ({error}); start it"
            ) from error


class MemoryListener(ParsingListener):
    """Takes messages of a queue, and acknowledges them when all sinks have finished them."""

    replayable: ClassVar[bool] = True

    def __init__(
        self, operator: Any, queue: str, port: int, parser: MessageParser | str = "arroyo"
    ) -> None:
        super().__init__(operator)
        self._queue = queue
        self._parser = TolerantParser(make_parser(parser))
        self._stopping = threading.Event()
        self._reading, self._acknowledging = Connected(port), Connected(port)
        self._owed: list[int] = []

    def open(self) -> None:
        self._reading.open()
        self._acknowledging.open()
        assert self.state_directory is not None
        self._name = str(self.state_directory)
        self._owing = Path(self._name) / "owed"
        if self._owing.exists():
            self._owed = msgspec.json.decode(self._owing.read_bytes())
            self.acknowledge_batch([])

    def start(self) -> None:
        self._hand_over(self._reading.ask("read_again", self._queue, self._name))
        while not self._stopping.is_set():
            self._hand_over(self._reading.ask("read", self._queue, self._name))

    def _hand_over(self, messages: list[Any]) -> None:
        for number, header, payload in messages:
            if self._stopping.is_set():
                return
            if not self._pass_on([header, payload], number, f"message {number}"):
                self.acknowledge_batch([number])

    def stop(self) -> None:
        self._stopping.set()

    def acknowledge_batch(self, tokens: list[int]) -> None:
        self._owed += tokens
        try:
            self._acknowledging.ask("acknowledge", self._queue, self._owed)
        except UnavailableError:
            self._owing.write_bytes(msgspec.json.encode(self._owed))
            return
        self._owed = []
        self._owing.unlink(missing_ok=True)

    def close(self) -> None:
        self._reading.close()
        self._acknowledging.close()


class MemoryPublisher(Publisher):
    """Puts messages into a queue, which knows those it has by their key."""

    idempotent: ClassVar[bool] = True

    def __init__(self, queue: str, port: int) -> None:
        self._queue = queue
        self._server = Connected(port)
        self._unsent: list[Any] = []

    def open(self) -> None:
        self._server.open()

    def publish(self, message: Any) -> None:
        header, payload = write_outward(message)
        key = message.key if message.origin is not None else ""
        self._unsent.append((key, header, bytes(payload)))

    def flush(self) -> None:
        self._server.ask("add", self._queue, self._unsent)
        self._unsent = []

    def close(self) -> None:
        self._server.close()
