"""What a publisher knows of its messages, by a producer that does what the test says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from arroyo.connectors import KafkaPublisher
from arroyo.connectors.kafka import publisher as kafka_publisher
from arroyo.errors import EncodeError, RefusedError, UnavailableError
from arroyo.messages import Event, Origin


class Producer:
    """Confirms what it was given when it is flushed, but for what shall fail."""

    def __init__(self, failures=None, *, raises=None, room=1000, confirms=True):
        self.failures = failures or {}
        """Error by the value of the record."""
        self.raises = raises
        self.room = room
        self.confirms = confirms
        self.sent = []
        self.outstanding = []

    def produce(self, topic, value, key, headers, on_delivery=None):
        if self.raises is not None:
            raise KafkaException(self.raises)
        if len(self.outstanding) >= self.room:
            raise BufferError
        self.sent.append(value)
        self.outstanding.append((value, key, on_delivery or self.on_delivery))

    def __len__(self):
        return len(self.outstanding)

    def poll(self, timeout):
        return self.flush(timeout) if timeout else 0

    def flush(self, timeout):
        if not self.confirms:
            return len(self.outstanding)
        taken, self.outstanding = self.outstanding, []
        for value, key, on_delivery in taken:
            if value in self.failures:
                on_delivery(self.failures[value], SimpleNamespace(key=lambda key=key: key))
        return 0

    def purge(self):
        pass


class Publisher(KafkaPublisher):
    """Gets its producers from the test."""

    def __init__(self, *producers, **options):
        super().__init__("det", "host:9092", **options)
        self.producers = list(producers)
        self._producer = self._make_producer()

    def _make_producer(self):
        producer = self.producers.pop(0)
        life = self.replaced
        producer.on_delivery = lambda error, record: self._note_failure(life, error, record)
        return producer


def events(*values, named=True):
    made = [Event({"index": index}, value) for index, value in enumerate(values)]
    for index, event in enumerate(made if named else ()):
        event._origin = Origin("run-1", "images.0", 7, index)
    return made


def publish(publisher, messages):
    for message in messages:
        publisher.publish(message)
    publisher.flush()


TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
DEAD = KafkaError(KafkaError.UNKNOWN_PRODUCER_ID)


@pytest.mark.parametrize(("named", "options"), [(True, {}), (False, {}), (True, {"key": "other"})])
def test_the_servers_refuse_one_message_and_it_is_that_one(named, options):
    publisher = Publisher(Producer({b"two": TOO_LARGE}), **options)
    one, two, three = events(b"one", b"two", b"three", named=named)
    with pytest.raises(RefusedError, match="takes no message with 3 bytes") as caught:
        publish(publisher, [one, two, three])
    ((refused, _),) = caught.value.refused
    assert refused is two
    publisher.flush()  # it is told once


def test_what_a_dead_producer_had_is_given_to_a_new_one():
    dead, alive = Producer({b"one": DEAD, b"two": DEAD}), Producer()
    publisher = Publisher(dead, alive)
    publish(publisher, events(b"one", b"two"))
    assert alive.sent == [b"one", b"two"]
    assert publisher.replaced == 1


def test_a_producer_that_is_dead_at_once_has_taken_nothing():
    dead, alive = Producer(raises=DEAD), Producer()
    publisher = Publisher(dead, alive)
    publish(publisher, events(b"one"))
    assert alive.sent == [b"one"]


def test_what_a_former_producer_says_counts_no_more():
    former, alive = Producer({b"one": DEAD}), Producer()
    publisher = Publisher(former, alive)
    publish(publisher, events(b"one"))
    former.on_delivery(KafkaError(KafkaError._PURGE_QUEUE), SimpleNamespace(key=lambda: b"x"))
    publisher.flush()
    assert publisher.replaced == 1


def test_messages_that_found_no_room_are_not_taken_for_confirmed(monkeypatch):
    monkeypatch.setattr(kafka_publisher, "STOP_WAIT_S", 0.0)
    full = Producer(room=0)
    publisher = Publisher(Producer({b"one": DEAD}), full)
    publisher._on_waiting = lambda _: True
    with pytest.raises(UnavailableError):
        publish(publisher, events(b"one", b"two"))
    full.room = 1000
    with pytest.raises(UnavailableError):
        publisher.flush()


def test_a_producer_without_room_is_given_more_as_soon_as_one_is_confirmed():
    producer = Producer(room=4)
    producer.poll = lambda timeout: producer.outstanding.pop(0) if timeout else None
    publisher = Publisher(producer)
    values = [str(number).encode() for number in range(10)]
    for event in events(*values):
        publisher.publish(event)
    assert producer.sent == values
    assert [value for value, *_ in producer.outstanding] == values[-4:]


def test_what_nobody_flushes_is_kept_no_longer_than_needed(monkeypatch):
    monkeypatch.setattr(kafka_publisher, "KEPT_MESSAGES", 100)
    publisher = Publisher(Producer())
    for index in range(1000):
        publisher.publish(Event({"index": index}))
        assert len(publisher._kept) <= 100 + kafka_publisher.LOOK_EVERY


def test_servers_that_are_there_and_confirm_nothing_are_named(monkeypatch):
    monkeypatch.setattr(kafka_publisher, "STUCK_S", 0.05)
    publisher = Publisher(Producer(confirms=False))
    with pytest.raises(UnavailableError, match=r"'det' takes nothing now \(nothing was conf"):
        publish(publisher, events(b"one"))


def test_of_a_list_the_servers_refuse_one_message_and_it_is_that_one():
    publisher = Publisher(Producer({b"two": TOO_LARGE}))
    one, two, three = events(b"one", b"two", b"three")
    publisher.publish_batch([one, two, three])
    with pytest.raises(RefusedError) as caught:
        publisher.flush()
    assert [refused for refused, _ in caught.value.refused] == [two]


def test_of_a_list_nothing_is_sent_if_one_message_can_not_be_written():
    producer = Producer()
    publisher = Publisher(producer)
    one, two = events(b"one", b"two")
    two.metadata["value"] = object()
    with pytest.raises(EncodeError):
        publisher.publish_batch([one, two])
    assert producer.sent == []


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_is_kept_does_not_change_when_its_sender_reuses_a_buffer(size):
    dead, alive = Producer({b"a" * size: DEAD}), Producer()
    publisher = Publisher(dead, alive)
    buffer = bytearray(b"a" * size)
    (event,) = events(buffer)
    publisher.publish(event)
    buffer[:] = b"b" * size
    publisher.flush()
    assert alive.sent == [b"a" * size]


def test_a_large_payload_is_copied_and_a_small_one_is_not():
    publisher = Publisher(Producer())
    large, small = events(memoryview(bytes(100_000)), memoryview(bytes(10)))
    publisher.publish_batch([large, small])
    first, second = publisher._kept.values()
    assert first is not large
    assert type(first.payload) is bytes
    assert second is small
