"""What goes to the neighbours at once, and what waits, with fakes for machine and links."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from arroyo.codec import Ack, Credit, Hello
from arroyo.config.graph import Chain, Input, Stage
from arroyo.identifiers import ReplicaName
from arroyo.links.link_events import (
    BackRecordReceived,
    LinkBroken,
    SenderConnected,
    SubscriptionConfirmed,
)
from arroyo.protocol.values.actions import Connect, Reply
from arroyo.runner.relay.neighbours import Neighbours
from arroyo.testing import FakeClock

SRC, OTHER = ReplicaName("src", 0), ReplicaName("src", 1)
HELLO = Reply(SRC, Hello(1, "sink", 0, 1))
CREDIT = Reply(SRC, Credit("sink", 0, 1, 1, 0.0))
ACK = Reply(SRC, Ack("sink", 0, "src.0", 1, 0, ((0, 1),)))


class Links:
    def __init__(self):
        self.performed = []
        self.came = []

    def perform(self, actions):
        self.performed += actions

    def poll(self, timeout_s, *, deaf):
        assert deaf
        came, self.came = self.came, []
        return came


class Machine:
    """Says of each call what it was."""

    @property
    def receiver(self):
        return self

    def back(self, record, now):
        return [("back", record, now)]

    def disconnected(self, replica, link):
        return [("disconnected", replica, link)]

    def greet(self, replica):
        return [("greet", replica)]

    def greet_all(self):
        return [("greet all",)]


class Role:
    """Carries out what is a string."""

    def __init__(self):
        self.carried_out = []

    def carry_out(self, actions):
        for action in actions:
            if isinstance(action, str):
                self.carried_out.append(action)
            else:
                yield action


@pytest.fixture
def links():
    return Links()


@pytest.fixture
def role():
    return Role()


@pytest.fixture
def neighbours_by(links, role):
    """Make them for an input of a kind."""

    def make(link):
        source = Stage("src", "listener", "own:Src", replicas=2)
        sink = Stage("sink", "publisher", "own:Sink", inputs=(Input("src", link),))
        replica = SimpleNamespace(
            links=links,
            clock=FakeClock(),
            name=ReplicaName("sink", 0),
            chain=Chain("c", Path("/"), Path("/chain.toml"), {"src": source, "sink": sink}),
            signals=SimpleNamespace(asked=False),
            note=lambda record: None,
            tap=SimpleNamespace(is_open=False),
        )
        return Neighbours(replica, Machine(), role), replica

    return make


@pytest.fixture
def neighbours(neighbours_by):
    return neighbours_by("push-pull")[0]


def test_credits_and_acknowledgements_wait_and_leave_together(neighbours, links):
    neighbours.perform([CREDIT, ACK])
    assert links.performed == []
    assert neighbours.replies.deadline is not None
    assert neighbours.send_replies()
    assert {type(reply.record) for reply in links.performed} == {Credit, Ack}
    assert not neighbours.send_replies()


def test_everything_else_leaves_at_once_and_in_order(neighbours, links, role):
    connect = Connect(ReplicaName("below", 0), 1)
    neighbours.perform([connect, "of the role alone", HELLO])
    assert links.performed == [connect, HELLO]
    assert role.carried_out == ["of the role alone"]


def test_the_machine_hears_what_those_below_say_and_that_a_link_broke(neighbours, links):
    links.came = [BackRecordReceived("record"), LinkBroken(OTHER, 7)]
    neighbours.hear_those_below(3.0)
    assert links.performed == [("back", "record", 3.0), ("disconnected", OTHER, 7)]


def test_who_came_is_greeted_but_not_by_one_that_leaves(neighbours_by, links):
    neighbours, replica = neighbours_by("push-pull")
    neighbours.take(SenderConnected(SRC), 0.0)
    replica.signals.asked = True
    neighbours.take(SenderConnected(OTHER), 0.0)
    assert links.performed == [("greet", SRC)]


def test_nobody_hears_hello_before_all_subscriptions_are_confirmed(neighbours_by, links):
    neighbours, _ = neighbours_by("pub-sub")
    neighbours.perform([HELLO])
    neighbours.take(SubscriptionConfirmed(SRC), 0.0)
    assert links.performed == []
    neighbours.take(SubscriptionConfirmed(OTHER), 0.0)
    assert links.performed == [("greet all",)]
    neighbours.perform([HELLO])
    neighbours.take(SubscriptionConfirmed(SRC), 0.0)  # it was started again
    assert links.performed == [("greet all",), HELLO, ("greet", SRC)]
