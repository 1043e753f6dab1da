from __future__ import annotations

import pytest
from unit.protocol.below import make_downstream, make_relay

from arroyo.codec import Ack, Batch, Credit, Hello, Kind, Open, Reason, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Outbox, Reply, Transmit
from arroyo.protocol.values.batches import positions_of, split_done
from arroyo.protocol.values.deliveries import Output

STONES = (Tombstone(20, 22, Reason.FILTERED),)


def make(*, below=False, ordered=False):
    name = ReplicaName("b", 0)
    outbox = Outbox()
    relay = make_relay(
        name,
        {ReplicaName("a", 0): False},
        [ReplicaName("s", 0)],
        make_downstream(name, outbox, stage="c", push_pull=below),
        outbox,
        incarnation=4,
        ordered=ordered,
    )
    list(relay.connect())
    if below:
        list(relay.back(Hello(1, "c", 0, 1), 0.0))
    relay.record(Open(1, "a", 0, 1, 1), None, 0.0)
    return relay


def batch(*ranges, number=0, **fields):
    return Batch(
        "a.0",
        1,
        number,
        Kind.EVENTS,
        "r",
        "s.0",
        1,
        0,
        0,
        0,
        implicit=True,
        ranges=ranges,
        **fields,
    )


def take(relay, record, messages):
    _, [delivery] = relay.record(record, None, 0.0)
    return delivery.batch, relay.receiver.plan(delivery.batch, messages)


def records(actions, kind):
    found = [action.record for action in actions if isinstance(action, Reply | Transmit)]
    return [record for record in found if isinstance(record, kind)]


@pytest.mark.parametrize(
    "came",
    [
        batch((0, 5), tombstones=STONES),
        batch((0, 2), (7, 10), tombstones=STONES),
        batch((0, 1), (0, 1), (0, 1), (3, 5), fragments=tuple((at, ((at, 3),)) for at in range(3))),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_message_of_a_batch_is_in_one_part(came, count):
    work = make(below=True).receiver.plan(came, "abcde")
    head, rest = split_done(came, work[:count])
    assert positions_of(head) + positions_of(rest) == positions_of(came)
    assert len(positions_of(head)) == count
    assert (head.tombstones, rest.tombstones) == (came.tombstones, ())


def test_what_came_of_the_first_messages_goes_on_while_the_stage_works_on_the_next():
    relay = make(below=True)
    came, work = take(relay, batch((0, 3), tombstones=STONES), "abc")
    first, left = relay.hand_on(came, work[:1], ["A"])
    [sent] = records(first, Batch)
    assert (sent.ranges, sent.tombstones) == (((0, 1),), STONES)
    last = list(relay.finish(left, work[1:], ["B", "C"], 0.1))
    [sent] = records(last, Batch)
    assert (sent.ranges, sent.tombstones, sent.number) == (((1, 3),), (), 1)


def test_the_sender_gets_its_credit_when_the_whole_batch_is_done():
    relay = make(below=True)
    came, work = take(relay, batch((0, 3)), "abc")
    first, left = relay.hand_on(came, work[:1], ["A"])
    assert records(first, Credit) == []
    last = list(relay.finish(left, work[1:], ["B", "C"], 0.1))
    assert [credit.number for credit in records(last, Credit)] == [1]


def test_a_publisher_acknowledges_each_part_and_nothing_twice():
    relay = make()
    came, work = take(relay, batch((0, 4)), "abcd")
    first, left = relay.hand_on(came, work[:2], [None, Output(reason=Reason.QUARANTINED)])
    last = list(relay.finish(left, work[2:], [None, None], 0.1))
    [head], [rest] = records(first, Ack), records(last, Ack)
    assert (head.ranges, head.tombstones) == (
        ((0, 1),),
        (Tombstone(1, 2, Reason.QUARANTINED),),
    )
    assert (rest.ranges, rest.tombstones) == (((2, 4),), ())


def test_a_publisher_that_gets_a_batch_again_works_on_what_it_had_not_come_to():
    relay = make()
    came, work = take(relay, batch((0, 4)), "abcd")
    relay.hand_on(came, work[:2], [None, None])
    _, again = take(relay, batch((0, 4), number=1, attempt=1), "abcd")
    assert [message for _, _, message in again] == ["c", "d"]


def test_messages_that_came_early_are_in_the_part_in_which_they_are_worked_on():
    relay = make(ordered=True)
    early, nothing = take(relay, batch((1, 3)), "bc")
    assert nothing == []
    list(relay.finish(early, nothing, [], 0.1))
    came, work = take(relay, batch((0, 1), number=1), "a")
    assert [message for _, _, message in work] == ["a", "b", "c"]
    first, left = relay.hand_on(came, work[:2], [None, None])
    last = list(relay.finish(left, work[2:], [None], 0.1))
    assert [ack.ranges for ack in records([*first, *last], Ack)] == [((0, 2),), ((2, 3),)]
