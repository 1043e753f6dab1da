"""NATS JetStream, as the conformance suite sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from brokers import Broker, Sent
from nats_server import MISSING, NATSProgram, NATSServer, find_nats_server


class NATSJetStream(Broker):
    """A server with one stream for each queue."""

    listener = "arroyo.connectors:NATSListener"
    publisher = "arroyo.connectors:NATSPublisher"
    lacks: ClassVar[dict[str, str]] = {
        "test_two_listeners_share_the_messages": "A listener has one replica",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = NATSServer(folder)
        self._program = NATSProgram(self._server.url)

    @staticmethod
    def find_missing() -> str:
        return "" if find_nats_server() else MISSING

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        self._server.kill()

    def make(self, queue: str) -> None:
        self._program.make(queue, queue)

    def produce(self, queue: str, messages: list[Sent]) -> None:
        # The library takes headers as text; what is no UTF-8 goes through as other bytes.
        self._program.send(
            queue, [({"arroyo": header.decode("latin-1")}, payload) for header, payload in messages]
        )

    def consume(self, queue: str) -> list[Sent]:
        return [(each.header["arroyo"].encode(), each.data) for each in self._program.read(queue)]

    def listener_options(self, queue: str) -> dict[str, Any]:
        return {"stream": queue, "subject": queue, "servers": self._server.url}

    def publisher_options(self, queue: str) -> dict[str, Any]:
        return {"subject": queue, "servers": self._server.url}
