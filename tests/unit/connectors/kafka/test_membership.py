"""What a member of a group reads and commits, by a consumer that does what the test says."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from arroyo.connectors.kafka.client import Servers
from arroyo.connectors.kafka.membership import Membership

PLACE = ("det", 0)
PARTITIONS = [TopicPartition(*PLACE)]


class Consumer:
    """A consumer that belongs to a group whose offset the test sets."""

    def __init__(self, group=0, oldest=0):
        self.group = group
        self.oldest = oldest
        self.stored = []
        self.begun = []
        self.asked = 0

    def subscribe(self, topics, **callbacks):
        self.topics = topics
        self.callbacks = callbacks

    def assign(self):
        self.callbacks["on_assign"](self, PARTITIONS)

    def revoke(self):
        self.callbacks["on_revoke"](self, PARTITIONS)

    def lose(self):
        self.callbacks["on_lost"](self, PARTITIONS)

    def committed(self, partitions, timeout):
        if self.group is None:
            raise KafkaException("nobody answers")
        return [TopicPartition(*PLACE, self.group)]

    def incremental_assign(self, partitions):
        self.begun += [(each.offset, each.leader_epoch) for each in partitions]

    def position(self, partitions):
        return [TopicPartition(*PLACE, 3, leader_epoch=7)]

    def store_offsets(self, offsets):
        if self.group is None:
            raise KafkaException("it is not ours")
        self.stored += [each.offset for each in offsets]

    def get_watermark_offsets(self, place, timeout):
        self.asked += 1
        if self.oldest is None:
            raise KafkaException("nobody answers")
        return self.oldest, 1000


@pytest.fixture
def member():
    """Makes a member with a consumer, and the partition assigned."""

    def make(limits=None, **options):
        servers = Servers("Test", "one:9092", None, None)
        made, consumer = Membership(servers, "ours", **limits or {}), Consumer(**options)
        made.join(consumer, ["det"])
        assert consumer.topics == ["det"]
        consumer.assign()
        return made, consumer

    return make


def hand_over(member, end):
    """Do as the listener does with all messages before `end`."""
    progress = member.offsets[PLACE]
    progress.expected, progress.handed = end, end - 1


def finish(member, *offsets):
    member.acknowledge([(*PLACE, offset) for offset in offsets])
    member.note_acknowledged()


def test_what_is_finished_is_committed(member):
    made, consumer = member()
    hand_over(made, 3)
    finish(made, 0)
    finish(made, 1, 2)
    made.note_acknowledged()
    assert consumer.stored == [1, 3]


def test_a_partition_that_comes_back_goes_on_behind_what_is_in_flight(member):
    made, consumer = member()
    hand_over(made, 3)
    consumer.lose()
    finish(made, 0)
    assert consumer.stored == []
    consumer.assign()
    finish(made, 1, 2)
    assert consumer.begun == [(-1001, None), (3, 7)]
    assert consumer.stored == [1, 3]


def test_a_partition_begins_where_the_group_is_if_that_is_not_known(member):
    made, consumer = member()
    hand_over(made, 3)
    consumer.lose()
    consumer.group = None
    consumer.assign()
    assert consumer.begun == [(-1001, None), (-1001, None)]


def test_a_partition_goes_when_all_is_finished(member, caplog):
    made, consumer = member()
    hand_over(made, 2)
    finisher = threading.Timer(0.05, made.acknowledge, [[(*PLACE, 1)]])
    finisher.start()
    consumer.revoke()
    finisher.join()
    assert consumer.stored == [2]
    assert not made.offsets[PLACE].is_ours
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_partition_goes_after_a_while_all_the_same(member, caplog):
    made, consumer = member({"release_wait_s": 0.02})
    hand_over(made, 2)
    consumer.revoke()
    assert consumer.stored == []
    assert not made.offsets[PLACE].is_ours
    assert "det[0] went to another member of the group before all of it was finished" in caplog.text


def test_a_partition_goes_at_once_from_a_listener_that_is_stopped(member):
    made, consumer = member()
    hand_over(made, 2)
    made.stop()
    consumer.revoke()
    assert made.is_stopping
    assert not made.offsets[PLACE].is_ours


def test_offsets_that_can_not_be_stored_are_left_to_the_next_member(member):
    made, consumer = member()
    hand_over(made, 1)
    consumer.group = None
    finish(made, 0)
    assert consumer.stored == []


@pytest.mark.parametrize(("oldest", "expired"), [(0, 0), (4, 3), (7, 6), (8, 6), (None, 0)])
def test_messages_that_retention_has_deleted_are_counted(member, oldest, expired):
    """Another gap is that of a compacted topic."""
    made, _ = member(oldest=oldest)
    hand_over(made, 1)
    made.look_at_gap(made.offsets[PLACE], 7)
    assert made.expired == expired


def test_the_gaps_of_a_compacted_topic_cost_little(member):
    made, consumer = member()
    for offset in range(2, 100, 2):
        hand_over(made, offset - 1)
        made.look_at_gap(made.offsets[PLACE], offset)
    assert consumer.asked == 1


def test_messages_before_the_first_of_a_new_group_are_not_missing(member):
    made, consumer = member(group=-1001, oldest=7)
    made.look_at_gap(made.offsets[PLACE], 7)
    assert made.offsets[PLACE].expected == 7
    assert (made.expired, consumer.asked) == (0, 0)


def test_a_topic_that_was_made_anew_begins_anew(member):
    made, _ = member()
    hand_over(made, 50)
    made.look_at_gap(made.offsets[PLACE], 0)
    assert made.offsets[PLACE].expected == 0


def test_commits_that_fail_are_told_of_once(member, caplog):
    made, _ = member()
    error = KafkaError(KafkaError.KAFKA_STORAGE_ERROR)
    failed = SimpleNamespace(topic="det", partition=0, offset=1, error=error)
    for outcome in (failed, failed, TopicPartition(*PLACE, 1), failed):
        made.note_committed(None, [outcome])
    said = [text for text in caplog.messages if "finished messages can't be committed" in text]
    assert len(said) == 2
    assert "whether their disks are full" in said[0]
    assert made.offsets[PLACE].committed == 1
