"""The link to one replica below: numbers, room, credit."""

from __future__ import annotations

import pytest
from batches import make_batch

from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.replica_link import ReplicaLink
from arroyo.protocol.values.batches import OutgoingBatch
from arroyo.protocol.values.flow_limits import AHEAD_BYTES, FIRST_BATCH_MESSAGES


@pytest.fixture
def link():
    """One whose replica takes batches."""
    return ReplicaLink(ReplicaName("b", 0), 7, up=True)


def put(link, messages, size=0):
    header = make_batch(ranges=((0, messages),))
    return link.put("a.0", OutgoingBatch(header, [b""] * messages, size), messages)


def test_batches_are_numbered_on_each_link_anew(link):
    assert [put(link, 1).number for _ in range(3)] == [0, 1, 2]
    link.begin(8)
    record = put(link, 1)
    assert (record.sender, record.link, record.number) == ("a.0", 8, 0)


def test_a_replica_that_is_not_there_has_no_room(link):
    link.begin(8)
    assert link.room(1) == 0


def test_room_is_used_up_by_what_has_no_credit_and_comes_back_with_it(link):
    assert link.room(0) == FIRST_BATCH_MESSAGES
    put(link, FIRST_BATCH_MESSAGES)
    put(link, FIRST_BATCH_MESSAGES)
    assert (link.room(0), link.in_flight) == (0, True)
    link.credit(2, 0.005)
    assert (link.room(0), link.messages, link.in_flight) == (2, 0, False)


def test_a_credit_that_tells_no_speed_makes_batches_no_longer(link):
    put(link, 1)
    link.credit(1, 0.0)
    assert link.room(0) == FIRST_BATCH_MESSAGES


def test_the_speed_of_a_new_life_is_not_known(link):
    put(link, 1)
    link.credit(1, 1.0)
    link.begin(8)
    link.up = True
    assert link.room(0) == FIRST_BATCH_MESSAGES


def test_one_message_always_fits_where_nothing_is_in_flight(link):
    assert link.room(2 * AHEAD_BYTES) == 1
    put(link, 1, 2 * AHEAD_BYTES)
    assert link.room(1) == 0
