"""RabbitMQ, as the conformance suite sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pika
from brokers import Broker, Sent
from rabbitmq_server import RabbitMQServer, find_missing


class RabbitMQ(Broker):
    """Durable classic queues of one server, by its default exchange."""

    listener = "arroyo.connectors:RabbitMQListener"
    publisher = "arroyo.connectors:RabbitMQPublisher"
    lacks: ClassVar[dict[str, str]] = {
        "test_what_was_not_acknowledged_comes_again_in_the_same_order": (
            "comes again as a new message with a new key"
        ),
        "test_acknowledgements_reach_a_server_that_was_away": (
            "an acknowledgement that the server had not got when it went away counts for nothing"
        ),
    }
    repeats = "What was under way when a stage was killed may come twice"
    repeats_after_server_kill = "and so may what was under way when the server was killed"

    def __init__(self, server: Any, turn: int = 0) -> None:
        super().__init__(server, turn)
        self._consumed: dict[str, list[Sent]] = {}

    @staticmethod
    def find_missing() -> str:
        return find_missing()

    @staticmethod
    def make_server(folder: Path, *, fast: bool = False) -> RabbitMQServer:
        return RabbitMQServer(folder)

    def make(self, queue: str) -> None:
        with self._connect() as connection:
            connection.channel().queue_declare(self.own(queue), durable=True)

    def produce(self, queue: str, messages: list[Sent]) -> None:
        with self._connect() as connection:
            channel = connection.channel()
            channel.tx_select()
            for header, payload in messages:
                properties = pika.BasicProperties(headers={"header": header}, delivery_mode=2)
                channel.basic_publish("", self.own(queue), payload, properties)
            channel.tx_commit()

    def consume(self, queue: str) -> list[Sent]:
        # Reading takes a message out of its queue.
        found = self._consumed.setdefault(queue, [])
        with self._connect() as connection:
            channel = connection.channel()
            while True:
                method, properties, payload = channel.basic_get(self.own(queue), auto_ack=True)
                if method is None:
                    return list(found)
                found.append((properties.headers["header"].encode(), payload))

    def listener_options(self, queue: str) -> dict[str, Any]:
        return {"queue": self.own(queue), "url": self.server.url}

    def publisher_options(self, queue: str) -> dict[str, Any]:
        return {"exchange": "", "routing_key": self.own(queue), "url": self.server.url}

    def _connect(self) -> pika.BlockingConnection:
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.server.port))
