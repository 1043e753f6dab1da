"""Which offsets may be committed: never one with something unfinished in front of it."""

from __future__ import annotations

from arroyo.connectors._kafka_offsets import Offsets


def handed(offsets, *numbers, partition=0):
    for number in numbers:
        offsets.read("t", partition, number)
        offsets.hand_over("t", partition, number)


def left_out(offsets, number):
    offsets.read("t", 0, number)
    return list(offsets.leave_out("t", 0, number))


def acknowledged(offsets, *numbers, partition=0):
    return list(offsets.acknowledge([("t", partition, number) for number in numbers]))


def test_what_is_finished_is_committed_once_for_many():
    offsets = Offsets()
    handed(offsets, 5, 6, 7)
    assert acknowledged(offsets, 5, 6) == [("t", 0, 7)]
    assert acknowledged(offsets, 7) == [("t", 0, 8)]


def test_each_partition_has_its_own():
    offsets = Offsets()
    handed(offsets, 1, 2)
    handed(offsets, 8, partition=1)
    assert list(offsets.acknowledge([("t", 1, 8), ("t", 0, 1)])) == [("t", 1, 9), ("t", 0, 2)]


def test_a_message_that_can_not_be_read_is_committed_when_all_before_it_is_finished():
    offsets = Offsets()
    handed(offsets, 0)
    assert left_out(offsets, 1) == []
    assert acknowledged(offsets, 0) == [("t", 0, 2)]


def test_a_message_that_can_not_be_read_is_committed_at_once_where_nothing_is_under_way():
    offsets = Offsets()
    assert left_out(offsets, 3) == [("t", 0, 4)]
    handed(offsets, 4)
    assert acknowledged(offsets, 4) == [("t", 0, 5)]
    assert left_out(offsets, 5) == [("t", 0, 6)]


def test_a_message_that_was_refused_does_not_cover_those_under_way():
    offsets = Offsets()
    handed(offsets, 0, 1, 2)
    assert list(offsets.leave_out("t", 0, 2)) == []
    assert acknowledged(offsets, 0) == [("t", 0, 1)]
    assert acknowledged(offsets, 1) == [("t", 0, 3)]


def test_a_partition_that_somebody_else_has_counts_no_more():
    offsets = Offsets()
    handed(offsets, 0, 1)
    offsets.drop([("t", 0), ("t", 7)])
    assert acknowledged(offsets, 0, 1) == []


def test_a_late_acknowledgement_does_not_take_a_partition_back():
    offsets = Offsets()
    handed(offsets, 0, 1, 2)
    offsets.drop([("t", 0)])
    handed(offsets, 50)  # others have read up to here
    assert acknowledged(offsets, 2) == []
    assert acknowledged(offsets, 50) == [("t", 0, 51)]


def test_a_topic_that_was_made_anew_begins_anew():
    offsets = Offsets()
    handed(offsets, 100, 101)
    assert acknowledged(offsets, 100) == [("t", 0, 101)]
    handed(offsets, 0, 1)
    assert acknowledged(offsets, 101) == []
    assert acknowledged(offsets, 0) == [("t", 0, 1)]


def test_the_first_message_of_a_partition_is_known():
    offsets = Offsets()
    assert offsets.read("t", 0, 4)
    offsets.hand_over("t", 0, 4)
    assert not offsets.read("t", 0, 5)
    list(offsets.leave_out("t", 0, 5))
    assert not offsets.read("t", 0, 6)
    offsets.drop([("t", 0)])
    assert offsets.read("t", 0, 6)


def test_a_partition_is_idle_when_all_of_it_is_finished():
    offsets = Offsets()
    handed(offsets, 0, 1)
    assert not offsets.are_idle([("t", 0)])
    acknowledged(offsets, 0, 1)
    assert offsets.are_idle([("t", 0), ("t", 1)])
