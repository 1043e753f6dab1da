"""What a listener hands over and has committed, by a consumer that does what the test says."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from confluent_kafka import KafkaException, TopicPartition
from outside import Recorder

from arroyo.connectors import KafkaListener
from arroyo.errors import ConfigurationError, EncodeError, StageError

PLACE = ("det", 0)


class Record(NamedTuple):
    """One message of a partition."""

    number: int
    content: bytes = b""
    place: tuple[str, int] = PLACE

    def error(self):
        return None

    def topic(self):
        return self.place[0]

    def partition(self):
        return self.place[1]

    def offset(self):
        return self.number

    def headers(self):
        return [("other", None), ("header", self.content or header(self.number))]

    def value(self):
        return b"abc"

    def key(self):
        return None


class Consumer:
    """Gives what it was made with: lists of records, and what happens in between or meanwhile."""

    def __init__(self, *steps, oldest=0, group=None):
        self.steps = list(steps)
        self.oldest = oldest
        self.group = group
        self.stored = []
        self.begun = []
        self.asked = 0
        self.listener = None

    def subscribe(self, topics, **callbacks):
        self.callbacks = callbacks

    def consume(self, count, timeout):
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, list):
                return [each for each in step if isinstance(each, Record) or each(self)]
            step(self)
        self.listener.stop()
        return []

    def poll(self, timeout):
        return None

    def store_offsets(self, offsets):
        self.stored += [each.offset for each in offsets]

    def committed(self, partitions, timeout):
        if self.group is None:
            raise KafkaException("nobody answers")
        return [TopicPartition(*PLACE, self.group)]

    def position(self, partitions):
        return [TopicPartition(*PLACE, 3, leader_epoch=7)]

    def incremental_assign(self, partitions):
        self.begun += [(each.offset, each.leader_epoch) for each in partitions]

    def get_watermark_offsets(self, place, timeout):
        self.asked += 1
        return self.oldest, 1000

    def close(self):
        pass


def header(number):
    return json.dumps({"type": "Event", "metadata": {"n": number}}).encode()


def records(*numbers):
    return [Record(number) for number in numbers]


def assign(consumer):
    consumer.callbacks["on_assign"](consumer, [TopicPartition(*PLACE)])


def lose(consumer):
    consumer.callbacks["on_lost"](consumer, [TopicPartition(*PLACE)])


def finish(*numbers):
    return lambda consumer: consumer.listener.acknowledge_batch([(*PLACE, n) for n in numbers])


def listen(consumer, operator=None):
    """Run a listener until the consumer has nothing more."""
    recorder = operator or Recorder()
    listener = KafkaListener(recorder, ["det"], "ours", "host:9092")
    listener._consumer, consumer.listener = consumer, listener
    listener.start()
    return recorder, listener


def numbers(recorder):
    return [event.metadata["n"] for event in recorder.events]


def test_what_is_finished_is_stored():
    consumer = Consumer(assign, records(0, 1), finish(0), records(2), finish(1, 2), group=0)
    recorder, _ = listen(consumer)
    assert numbers(recorder) == [0, 1, 2]
    assert consumer.stored == [1, 3]


class Refusing(Recorder):
    """Refuses some messages where they are handed over."""

    def __init__(self, refused, error):
        super().__init__()
        self.refused = refused
        self.error = error

    def process(self, message, token=None):
        if message.metadata["n"] in self.refused:
            raise self.error("it can't be")
        super().process(message, token)


def test_a_message_that_was_refused_does_not_cover_those_in_flight():
    consumer = Consumer(assign, records(0, 1, 2), finish(0), finish(1), group=0)
    recorder, listener = listen(consumer, Refusing({2}, EncodeError))
    assert numbers(recorder) == [0, 1]
    assert listener.rejected == 1
    assert consumer.stored == [3]


def test_a_message_that_was_not_taken_is_not_committed():
    """The stage has ended: nobody has the message but the servers."""
    consumer = Consumer(assign, records(0), finish(0), records(1), group=0)
    with pytest.raises(StageError):
        listen(consumer, Refusing({1}, StageError))
    consumer.listener.acknowledge_batch([(*PLACE, 0)])
    consumer.listener.close()
    assert consumer.stored == [1]


def test_what_was_fetched_before_the_partition_was_lost_is_left_to_others():
    consumer = Consumer(assign, records(0), [*records(1, 2), lose], finish(0), group=0)
    recorder, _ = listen(consumer)
    assert numbers(recorder) == [0]
    assert consumer.stored == []


def test_a_partition_that_comes_back_goes_on_behind_what_is_in_hand():
    consumer = Consumer(
        assign, records(0, 1, 2), lose, finish(0), assign, records(3), finish(1, 2, 3), group=0
    )
    recorder, _ = listen(consumer)
    assert numbers(recorder) == [0, 1, 2, 3]
    assert consumer.begun == [(-1001, None), (3, 7)]
    assert consumer.stored == [1, 4]


@pytest.mark.parametrize(("oldest", "expired"), [(0, 0), (4, 3), (7, 6)])
def test_messages_that_retention_has_deleted_are_counted(oldest, expired):
    """In mid-run, too; another gap is that of a compacted topic."""
    consumer = Consumer(assign, records(0, 7, 8), group=0, oldest=oldest)
    recorder, listener = listen(consumer)
    assert numbers(recorder) == [0, 7, 8]
    assert listener.expired == expired


def test_messages_that_go_while_the_servers_are_asked_are_not_missing():
    consumer = Consumer(assign, records(0, 7, 8), group=0, oldest=8)
    _, listener = listen(consumer)
    assert listener.expired == 6


@pytest.mark.parametrize("seconds", [0.0, 4000.0, float("inf"), float("nan")])
def test_a_session_lasts_some_seconds(seconds):
    with pytest.raises(ConfigurationError, match="expected some seconds, 3600 at most"):
        KafkaListener(Recorder(), ["det"], "g", "h:1", session_timeout_s=seconds)
