"""Links in memory bring what those over sockets would bring."""

import pytest

from arroyo import Event
from arroyo.codec import Ack, Batch, End, Hello, Kind, MessageCodec
from arroyo.identifiers import ReplicaName
from arroyo.links.link_events import BackRecordReceived, DataReceived, SubscriptionConfirmed
from arroyo.links.memory import MemoryLinks
from arroyo.protocol.values.actions import Broadcast, Connect, Reply, Transmit

ABOVE, BELOW = ReplicaName("count", 0), ReplicaName("write", 0)
CODEC = MessageCodec()


@pytest.fixture
def both():
    others = {}
    others[ABOVE] = MemoryLinks(others, subscribers=[BELOW])
    others[BELOW] = MemoryLinks(others)
    return others[ABOVE], others[BELOW]


def batch(*ranges):
    return Batch("count.0", 1, 0, Kind.EVENTS, "r", "count.0", 1, 0, 0, 0, ranges=ranges)


def test_a_batch_comes_as_a_body_and_payloads_that_nobody_can_change(both):
    above, below = both
    payload = bytearray(b"x" * 20_000)
    items = [CODEC.encode(Event({"n": 1}, b"small")), CODEC.encode(Event({"n": 2}, payload))]
    above.perform([Connect(BELOW, 1), Transmit(BELOW, batch((0, 2)), items)])
    payload[0] = 0
    (came,) = below.poll(0.0)
    record, (body, *payloads) = came.record, came.frames
    small, large = CODEC.decode(body, record.detached, payloads)
    assert (record.detached, bytes(small.payload), bytes(large.payload)) == (
        (1,),
        b"small",
        b"x" * 20_000,
    )
    assert all(frame.readonly for frame in (body, *payloads))
    assert record.sent_ns > 0


def test_what_comes_from_below_comes_first_and_data_one_by_one(both):
    above, below = both
    hello = Hello(1, *BELOW, 1)
    above.perform(
        [Transmit(BELOW, End("count.0", 1, False)), Transmit(BELOW, End("count.0", 1, True))]
    )
    above.perform([Reply(BELOW, hello), Reply(BELOW, Ack(*BELOW, "count.0", 1, 0, ((0, 1),)))])
    first, second = list(below.poll(0.0)), list(below.poll(0.0))
    assert [type(event) for event in first] == [
        BackRecordReceived,
        BackRecordReceived,
        DataReceived,
    ]
    assert [event.record.final for event in (first[-1], *second)] == [False, True]
    assert list(below.poll(0.0)) == []


def test_who_is_deaf_leaves_data_where_it_is(both):
    above, below = both
    above.perform([Transmit(BELOW, End("count.0", 1, True))])
    assert (below.has_come(deaf=True), below.has_come()) == (False, True)
    assert list(below.poll(0.0, deaf=True)) == []
    assert len(list(below.poll(0.0))) == 1


def test_a_subscription_stands_at_once_and_brings_what_is_told_to_all(both):
    others = {ABOVE: both[0]}
    others[BELOW] = subscriber = MemoryLinks(others, subscriptions=[ABOVE])
    assert list(subscriber.poll(0.0)) == [SubscriptionConfirmed(ABOVE)]
    both[0].perform([Broadcast(End("count.0", 1, True))])
    assert len(list(both[1].poll(0.0))) == 1


def test_who_is_woken_has_something_to_look_for_once():
    woken = []
    links = MemoryLinks({}, woken=lambda: woken.append(True))
    links.wake()
    assert (woken, links.has_come(deaf=True)) == ([True], True)
    assert list(links.poll(0.0)) == []
    assert not links.has_come()
