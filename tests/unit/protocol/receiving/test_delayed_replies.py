"""What is joined on its way back, and what is not."""

from __future__ import annotations

import msgspec
import pytest

from arroyo.codec import Ack, Credit, Reason, Tombstone
from arroyo.identifiers import ReplicaName
from arroyo.protocol.receiving.delayed_replies import (
    ACK_WAIT_S,
    CREDIT_WAIT_S,
    PART,
    DelayedReplies,
)
from arroyo.protocol.values.flow_limits import AHEAD_BYTES, AHEAD_MESSAGES

SOURCE = ReplicaName("s", 0)
ACK = Ack("b", 0, "s.0", 1, 0)


def joined(*acks):
    replies = DelayedReplies()
    for ack in acks:
        replies.put(SOURCE, msgspec.structs.replace(ACK, **ack), 0.0)
    return [reply.record for reply in replies.take()]


def test_acknowledgements_of_one_path_leave_as_one():
    stone = Tombstone(2, 3, Reason.FILTERED)
    (ack,) = joined({"ranges": ((0, 1),)}, {"ranges": ((1, 2),), "tombstones": (stone,)})
    assert (ack.ranges, ack.tombstones) == (((0, 2),), (stone,))


def test_what_is_held_is_never_told_with_what_is_finished():
    held = {"ranges": ((0, 4),), "taken": 7}
    finished = {"ranges": ((0, 2),)}
    assert [(ack.taken, ack.ranges) for ack in joined(held, finished)] == [
        (7, ((0, 4),)),
        (0, ((0, 2),)),
    ]


@pytest.mark.parametrize("field", ["path", "paths", "epoch", "taken", "replicas"])
def test_what_is_said_of_different_things_is_never_joined(field):
    said = [{"ranges": ((number, number + 1),), field: 2 + number} for number in range(2)]
    assert [(getattr(ack, field), ack.ranges) for ack in joined(*said)] == [
        (2, ((0, 1),)),
        (3, ((1, 2),)),
    ]


SENDER = ReplicaName("a", 0)
QUICK_S = 1e-6


def credit(number, message_s=QUICK_S, link=7):
    return Credit("b", 0, link, number, message_s)


def ack(first, end):
    return Ack("b", 0, "s.0", 1, 0, ((first, end),))


def test_the_first_credit_that_tells_a_speed_leaves_at_once():
    replies = told(0.0)  # of a Start
    replies.put(SENDER, credit(2), 5.0)
    assert replies.is_due(5.0)


def told(message_s=QUICK_S):
    """Replies whose sender knows how quick the stage is."""
    replies = DelayedReplies()
    replies.put(SENDER, credit(1, message_s), 0.0)
    replies.take()
    return replies


def test_the_first_credit_of_a_link_leaves_at_once():
    replies = DelayedReplies()
    replies.put(SENDER, credit(1), 5.0)
    assert replies.is_due(5.0)
    replies.take()
    replies.put(SENDER, credit(1, link=8), 6.0)
    assert replies.is_due(6.0)


def test_a_credit_that_nobody_waits_for_waits_itself():
    replies = told()
    replies.put(SENDER, credit(2), 1.0)
    replies.note(1, 100, 0, 1000)
    assert not replies.is_due(1.0 + 0.99 * CREDIT_WAIT_S)
    assert replies.is_due(1.0 + CREDIT_WAIT_S)


@pytest.mark.parametrize("before", [True, False])
def test_an_acknowledgement_waits_less_and_takes_credits_along(before):
    replies = told()
    if before:
        replies.put(SENDER, credit(2), 1.0)
    replies.put(SOURCE, ack(0, 1), 1.0)
    if not before:
        replies.put(SENDER, credit(2), 1.0)
    assert replies.deadline == 1.0 + ACK_WAIT_S
    assert {reply.to for reply in replies.take()} == {SENDER, SOURCE}
    assert replies.deadline is None


def test_what_a_sender_may_be_ahead_bounds_how_long_credits_wait():
    replies = told()
    replies.put(SENDER, credit(2), 1.0)
    replies.note(AHEAD_MESSAGES // PART, 0, 0, 1000)
    assert replies.is_due(1.0)


def test_a_few_payloads_that_fill_the_window_of_their_source_do_not_wait():
    replies = told()
    replies.put(SOURCE, ack(0, 9), 1.0)
    replies.note(8, 100, AHEAD_BYTES - 1, 1000)
    assert not replies.is_due(1.0)
    replies.note(1, 100, 1, 1000)
    assert replies.is_due(1.0)


@pytest.mark.parametrize("in_flight", [2, PART])
def test_a_source_with_few_payloads_in_flight_hears_of_them_at_once(in_flight):
    replies = told()
    replies.put(SOURCE, ack(0, 1), 1.0)
    replies.note(1, 100, 1024, in_flight)
    assert replies.is_due(1.0)


@pytest.mark.parametrize(
    ("in_flight", "shared", "record"),
    [(PART + 1, 1024, ack(0, 1)), (2, 0, ack(0, 1)), (2, 1024, credit(2))],
    ids=["enough others are in flight", "small messages", "a credit"],
)
def test_nothing_else_leaves_sooner_because_little_is_in_flight(in_flight, shared, record):
    replies = told()
    replies.put(SENDER, record, 1.0)
    replies.note(1, 100, shared, in_flight)
    assert not replies.is_due(1.0)


def test_a_sender_that_takes_the_stage_for_slow_hears_at_once_that_it_is_quick():
    replies = told(message_s=1.0)
    replies.put(SENDER, credit(2), 1.0)
    replies.note(1, 100, 0, 1000)
    assert replies.is_due(1.0)


def test_a_stage_that_became_slow_credits_each_message():
    replies = told()
    replies.put(SENDER, credit(2, message_s=1.0), 1.0)
    replies.note(1, 100, 0, 1000)
    assert replies.is_due(1.0)


def test_many_of_one_kind_leave_as_one_record():
    replies = told()
    for number in range(2, 5):
        replies.put(SENDER, credit(number), 1.0)
        replies.put(SOURCE, ack(number, number + 1), 1.0)
    acks, credits = replies.take()
    assert acks.record.ranges == ((2, 5),)
    assert credits.record.number == 4
