"""Kafka, as the conformance suite sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import kafka_server
from brokers import Broker, Sent
from chains import wait_until

ANSWER_S = 10.0


class Kafka(Broker):
    """A server that keeps what it has confirmed; topics have one partition, and so an order.

    confluent-kafka is imported late: the suite asks first what is missing.
    """

    listener = "arroyo.connectors:KafkaListener"
    publisher = "arroyo.connectors:KafkaPublisher"
    repeats = "where a listener died: what every sink had finished is committed within"
    repeats_after_server_kill = "had not confirmed is published again, with the same run and"
    lacks: ClassVar[dict[str, str]] = {
        "test_two_listeners_share_the_messages": "of a topic with one partition, one replica "
        "reads all",
        "test_acknowledgements_reach_a_server_that_was_away": "what it could not commit is read "
        "again",
    }

    def __init__(self, server: Any, turn: int = 0) -> None:
        super().__init__(server, turn)
        self._readers: dict[str, tuple[Any, list[Sent]]] = {}

    @staticmethod
    def find_missing() -> str:
        return kafka_server.find_missing()

    @staticmethod
    def make_server(folder: Path, *, fast: bool = False) -> kafka_server.KafkaServer:
        return kafka_server.KafkaServer(folder, durable=True)

    def make(self, queue: str) -> None:
        self.server.make_topic(self.own(queue))

    def produce(self, queue: str, messages: list[Sent]) -> None:
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.server.address, "log_level": 0})
        for header, payload in messages:
            producer.produce(self.own(queue), payload, headers=[("header", header)])
        assert producer.flush(ANSWER_S) == 0

    def consume(self, queue: str) -> list[Sent]:
        if queue in self._readers:
            consumer, found = self._readers[queue]
            while not self._read(consumer, found):
                pass
        else:
            consumer, found = self._readers[queue] = self._make_reader(queue), []
            wait_until(lambda: self._read(consumer, found))
        return list(found)

    def _make_reader(self, queue: str) -> Any:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {
                "bootstrap.servers": self.server.address,
                "group.id": "suite",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        self._left_open.callback(consumer.close)
        consumer.assign([TopicPartition(self.own(queue), 0, 0)])
        return consumer

    def _read(self, consumer: Any, found: list[Sent]) -> bool:
        """Read on; return True at the end, which is told once, and when nothing more comes."""
        records = consumer.consume(1000, 0.05)
        for record in records:
            if record.error() is None:
                found.append((record.headers()[0][1], record.value()))
        ended = any(record.error() is not None for record in records)
        return ended or bool(found and not records)

    def listener_options(self, queue: str) -> dict[str, Any]:
        return {
            "topics": [self.own(queue)],
            "group": self.own("chain"),
            "servers": self.server.address,
            "session_timeout_s": kafka_server.SESSION_S,
        }

    def publisher_options(self, queue: str) -> dict[str, Any]:
        return {"topic": self.own(queue), "servers": self.server.address}
