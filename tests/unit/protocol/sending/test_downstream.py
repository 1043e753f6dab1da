"""What a sender hears of the stages below, and what may be lost by it."""

from __future__ import annotations

import pytest
from batches import make_batch
from unit.protocol.below import make_downstream

from arroyo.codec import Bye, Credit, End, Hello, Lost
from arroyo.identifiers import ReplicaName
from arroyo.protocol.sending.downstream import LossSign
from arroyo.protocol.values.actions import Broadcast, Connect, Outbox, Transmit
from arroyo.protocol.values.batches import OutgoingBatch

NAME, NEAR = ReplicaName("a", 0), ReplicaName("b", 0)


class Below:
    def __init__(self, **options):
        self.outbox = Outbox()
        self.stages = make_downstream(NAME, self.outbox, **options)
        self.stages.connect()
        self.outbox.take()

    def hello(self, stage="b", incarnation=1, version=1):
        return self.stages.record(Hello(version, stage, 0, incarnation))

    def send(self, count=1):
        header = make_batch(sender="a.0", source="a.0", ranges=((0, count),))
        self.stages.send(OutgoingBatch(header, list(range(count)), count))
        return [type(action) for action in self.outbox.take()]


@pytest.fixture
def below():
    made = Below()
    made.hello()
    return made


def test_it_is_ready_when_everybody_who_is_expected_has_said_hello_in_this_version():
    made = Below(expected=[("b", 0), ("far", 0)])
    made.hello()
    made.hello("far", version=2)
    assert not made.stages.ready
    made.hello("far")
    assert made.stages.ready


def test_it_is_ready_without_those_that_are_away_for_long():
    made = Below(expected=[("b", 0), ("b", 1)])
    made.hello()
    made.stages.excuse([ReplicaName("b", 1), ReplicaName("stranger", 0)])
    assert made.stages.ready


def test_a_neighbour_in_its_next_life_has_lost_what_was_on_its_link(below):
    assert below.hello() is LossSign.NONE
    assert below.hello(incarnation=2) is LossSign.NEAR


def test_a_stage_further_below_in_its_next_life_has_lost_what_it_had(below):
    assert below.hello("far") is LossSign.NONE
    assert below.hello("far", incarnation=2) is LossSign.FAR


def test_a_neighbour_that_comes_back_after_its_link_broke_has_lost_nothing_more(below):
    assert below.stages.disconnected(NEAR, 1) is LossSign.NEAR
    assert below.hello(incarnation=2) is LossSign.NONE
    assert below.hello(incarnation=3) is LossSign.NEAR


def test_a_neighbour_that_died_when_nothing_was_on_its_link_has_lost_what_it_had(below):
    below.stages.record(Bye("b", 0, 1))
    assert below.stages.disconnected(NEAR, 1) is LossSign.NONE
    assert below.hello(incarnation=2) is LossSign.FAR


def test_another_version_is_no_life_that_anything_can_be_lost_with(below):
    below.hello("far")
    assert below.hello("far", incarnation=2, version=2) is LossSign.NONE
    assert below.stages.lives["far", 0] == 1


def test_a_loss_on_a_link_is_near_and_one_that_a_stage_reports_without_a_link_is_far(below):
    assert below.stages.record(Lost("b", 0)) is LossSign.FAR
    assert below.stages.record(Lost("b", 0, 1)) is LossSign.NEAR
    assert below.stages.record(Lost("b", 0, 1)) is LossSign.NONE  # it was made anew meanwhile
    assert [type(action) for action in below.outbox.take()][:1] == [Connect]


def test_a_broken_link_is_near_and_that_of_a_stranger_nothing(below):
    assert below.stages.disconnected(ReplicaName("stranger", 0), 1) is LossSign.NONE
    assert below.stages.disconnected(NEAR, 1) is LossSign.NEAR


def test_credits_and_goodbyes_go_to_the_dispatcher_of_their_stage(below):
    below.send(3)
    below.stages.record(Credit("far", 0, 1, 1, 0.001))
    assert below.stages.in_flight == 3
    below.stages.record(Credit("b", 0, 1, 1, 0.001))
    assert below.stages.in_flight == 0
    below.stages.record(Bye("far", 0, 1))
    assert below.outbox.take() == []
    below.stages.record(Bye("b", 0, 1))
    assert [type(action.record) for action in below.outbox.take()] == [End]


def test_a_batch_goes_all_ways_and_tombstones_alone_to_no_subscriber():
    made = Below(pub_sub=True)
    made.hello()
    assert made.send() == [Transmit, Broadcast]
    assert made.send(0) == [Transmit]


def test_the_end_is_told_to_subscribers_once():
    made = Below(pub_sub=True, push_pull=False)
    made.stages.end(final=True)
    made.stages.end(final=True)
    assert [type(action) for action in made.outbox.take()] == [Broadcast]
    assert made.stages.ended


@pytest.mark.parametrize(
    ("links", "reliable", "empty"),
    [
        ({}, True, False),
        ({"push_pull": False, "pub_sub": True}, False, False),
        ({"push_pull": False}, False, True),
    ],
)
def test_it_knows_whether_anybody_acknowledges_and_whether_anybody_is_there(links, reliable, empty):
    stages = Below(**links).stages
    assert (stages.reliable, stages.empty) == (reliable, empty)
