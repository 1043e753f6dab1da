"""RabbitMQ, as the conformance suite sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pika
from brokers import AT_LEAST_ONCE, Broker, Sent
from rabbitmq_server import RabbitMQServer, find_missing

BY_HAND = """
import json, sys
import pika

reader, writer = json.loads(sys.argv[1])
persistent = pika.DeliveryMode.Persistent.value

def begin(connection):
    connection.channel(on_open_callback=lambda outgoing: connection.channel(
        on_open_callback=lambda incoming: move(incoming, outgoing)))

def move(incoming, outgoing):
    def publish(_, method, properties, body):
        header = json.dumps(json.loads(properties.headers["header"]))
        key = str(method.delivery_tag)
        properties = pika.BasicProperties(
            headers={"header": header}, message_id=key, delivery_mode=persistent)
        outgoing.basic_publish(writer["exchange"], writer["routing_key"], body, properties, True)

    def acknowledge(frame):  # both channels count from 1
        assert isinstance(frame.method, pika.spec.Basic.Ack), "the server could not take it"
        incoming.basic_ack(frame.method.delivery_tag, multiple=frame.method.multiple)

    outgoing.confirm_delivery(acknowledge)
    incoming.basic_qos(prefetch_count=8000)
    incoming.basic_consume(reader["queue"], publish)

url = reader["url"].replace("guest@", "guest:guest@")
pika.SelectConnection(pika.URLParameters(url), on_open_callback=begin).ioloop.start()
"""


class RabbitMQ(Broker):
    """Durable classic queues of one server, by its default exchange."""

    listener = "arroyo.connectors:RabbitMQListener"
    publisher = "arroyo.connectors:RabbitMQPublisher"
    missing = "has it not"
    lacks: ClassVar[dict[str, str]] = {
        "test_what_was_not_acknowledged_comes_again_in_the_same_order": (
            "comes again as a new message with a new key"
        ),
        "test_acknowledgements_reach_a_server_that_was_away": (
            "one that the server had not got when it went away, or not written to its disk when it "
            "was killed, counts for nothing"
        ),
        "test_a_message_that_comes_again_is_there_once": (
            "What was under way when a stage was killed may come twice"
        ),
    }
    by_hand: ClassVar[dict[str, str]] = {AT_LEAST_ONCE: BY_HAND}
    impatient: ClassVar[dict[str, Any]] = {"retry_for_s": 0.5}
    repeats = "What was under way when a stage was killed may come twice"
    repeats_after_server_kill = "and so may what was under way when the server was killed"

    def __init__(self, server: Any, turn: int = 0) -> None:
        super().__init__(server, turn)
        self._consumed: dict[str, list[Sent]] = {}
        self._counting: Any = None

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

    def count(self, queue: str) -> int:
        if self._counting is None or not self._counting.is_open:
            self._counting = self._left_open.enter_context(self._connect()).channel()
        left = self._counting.queue_declare(self.own(queue), passive=True).method.message_count
        return len(self._consumed.get(queue, [])) + int(left)

    def fill(self) -> None:
        self.server.control("set_disk_free_limit", str(10**15))

    def make_room(self) -> None:
        self.server.control("set_disk_free_limit", str(10**6))

    def listener_options(self, queue: str) -> dict[str, Any]:
        return {"queue": self.own(queue), "url": self.server.url}

    def publisher_options(self, queue: str) -> dict[str, Any]:
        return {"exchange": "", "routing_key": self.own(queue), "url": self.server.url}

    def _connect(self) -> pika.BlockingConnection:
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.server.port))
