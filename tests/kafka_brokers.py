"""Kafka, as the conformance suite sees it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import kafka_server
from brokers import AT_LEAST_ONCE, Broker, Sent
from chains import wait_until

ANSWER_S = 60.0
MESSAGE_BYTES_MAX = 1_000_000_000
"""The maximum of librdkafka; the servers' own limits decide."""

CLIENTS = """
import json, sys
from confluent_kafka import Consumer, Producer, TopicPartition

(reader, writer), messages = json.loads(sys.argv[1]), int(sys.argv[2])
consumer = Consumer({
    "bootstrap.servers": reader["servers"],
    "group.id": reader["group"],
    "auto.offset.reset": "earliest",
    "session.timeout.ms": round(reader["session_timeout_s"] * 1000),
    "heartbeat.interval.ms": round(reader["session_timeout_s"] * 250),
    "partition.assignment.strategy": "cooperative-sticky",
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": 200,
    "receive.message.max.bytes": 1_001_048_576,
    "log_level": 0,
})
producer = Producer({
    "bootstrap.servers": writer["servers"],
    "enable.idempotence": True,
    "queue.buffering.max.messages": 10_000,
    "queue.buffering.max.kbytes": 64 * 1024,
    "message.max.bytes": 1_000_000_000,
    "log_level": 0,
})
"""
"""Both loops have these, with the settings of the connectors."""

CARELESS = """consumer.subscribe(reader["topics"])
topic, done = writer["topic"], 0
while done < messages:
    records = consumer.consume(500, 0.1)
    last = {}
    for record in records:
        assert record.error() is None, record.error()
        header = json.dumps(json.loads(record.headers()[0][1])).encode()
        while True:
            try:
                producer.produce(topic, record.value(), headers=[("header", header)])
                break
            except BufferError:
                producer.poll(0.1)
        last[record.topic(), record.partition()] = record.offset() + 1
    producer.poll(0)
    done += len(records)
    if last:
        offsets = [TopicPartition(*place, offset) for place, offset in last.items()]
        consumer.store_offsets(offsets=offsets)
producer.flush()
consumer.close()
"""
"""Commits what it has handed to the producer, whatever becomes of that."""

CAREFUL = """
from collections import deque

class Batch:
    def __init__(self, records):
        self.left = len(records)
        last = {(each.topic(), each.partition()): each.offset() + 1 for each in records}
        self.offsets = [TopicPartition(*place, offset) for place, offset in last.items()]

    def note(self, error, _):
        assert error is None, error
        self.left -= 1

consumer.subscribe(reader["topics"])
topic, done, batches = writer["topic"], 0, deque()
while done < messages or batches:
    records = consumer.consume(500, 0.1)
    batch = Batch(records)
    for record in records:
        assert record.error() is None, record.error()
        header = json.dumps(json.loads(record.headers()[0][1])).encode()
        while True:
            try:
                producer.produce(
                    topic, record.value(), headers=[("header", header)], on_delivery=batch.note)
                break
            except BufferError:
                producer.poll(0.1)
    batches.append(batch)
    producer.poll(0)
    while batches and not batches[0].left:
        offsets = batches.popleft().offsets
        if offsets:
            consumer.store_offsets(offsets=offsets)
    done += len(records)
consumer.close()
"""
"""Commits what the server has confirmed; has as much under way as the other one."""


class Kafka(Broker):
    """A server that keeps what it has confirmed; topics have one partition, and so an order.

    confluent-kafka is imported late: the suite asks first what is missing.
    """

    listener = "arroyo.connectors:KafkaListener"
    publisher = "arroyo.connectors:KafkaPublisher"
    missing = "have no topic"
    by_hand: ClassVar[dict[str, str]] = {
        AT_LEAST_ONCE: CLIENTS + CAREFUL,
        "loses what it has in hand when it dies": CLIENTS + CARELESS,
    }
    repeats = "where a listener died: what every sink had finished is committed within"
    repeats_after_server_kill = "had not confirmed is published again, with the same run and"
    lacks: ClassVar[dict[str, str]] = {
        "test_two_listeners_share_the_messages": "of a topic with one partition, one replica "
        "reads all",
        "test_acknowledgements_reach_a_server_that_was_away": "what it could not commit is read "
        "again",
        "test_a_message_that_comes_again_is_there_once": repeats,
    }

    def __init__(self, server: Any, turn: int = 0) -> None:
        super().__init__(server, turn)
        self._readers: dict[str, tuple[Any, list[Sent]]] = {}

    @staticmethod
    def find_missing() -> str:
        return kafka_server.find_missing()

    @staticmethod
    def make_server(folder: Path, *, fast: bool = False) -> kafka_server.KafkaServer:
        return kafka_server.KafkaServer(folder, durable=not fast)

    def make(self, queue: str) -> None:
        self.server.make_topic(self.own(queue))

    def produce(self, queue: str, messages: list[Sent]) -> None:
        from confluent_kafka import Producer

        producer = Producer(
            {
                "bootstrap.servers": self.server.address,
                "message.max.bytes": MESSAGE_BYTES_MAX,
                "log_level": 0,
            }
        )
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

    def count(self, queue: str) -> int:
        # Of the last batch Tansu counts the first message alone, and on S3 it counts nothing.
        from confluent_kafka import TopicPartition

        _, end = self._counter.get_watermark_offsets(TopicPartition(self.own(queue), 0), ANSWER_S)
        return end

    @cached_property
    def _counter(self) -> Any:
        from confluent_kafka import Consumer

        settings = {"bootstrap.servers": self.server.address, "group.id": "count", "log_level": 0}
        consumer = Consumer(settings)
        self._left_open.callback(consumer.close)
        return consumer

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
