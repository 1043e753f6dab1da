"""What a replica says to those above it."""

from __future__ import annotations

import pytest
from batches import make_batch
from msgspec.structs import astuple

from arroyo.codec import Ack, Bye, Credit, Hello, Lost
from arroyo.identifiers import ReplicaName
from arroyo.protocol.receiving.upstream import Upstream
from arroyo.protocol.values.actions import Outbox, Reply
from arroyo.protocol.values.history import History

NAME, ABOVE, FEED = ReplicaName("b", 0), ReplicaName("a", 0), ReplicaName("feed", 0)
SOURCE = ReplicaName("s", 0)


class Saying:
    """Calls return what is said: to whom, and what."""

    def __init__(self, **options):
        self.outbox = Outbox()
        self.upstream = Upstream(
            NAME,
            4,
            {ABOVE: False, FEED: True},
            [SOURCE],
            emit=self.outbox.emit,
            history=History(),
            **options,
        )

    def __getattr__(self, name):
        def call(*args):
            getattr(self.upstream, name)(*args)
            return [astuple(action) for action in self.outbox.take() if type(action) is Reply]

        return call


@pytest.fixture
def upstream():
    return Saying()


def test_everybody_above_is_greeted_once(upstream):
    hello = Hello(1, "b", 0, 4)
    assert upstream.greet_all() == [(ABOVE, hello), (FEED, hello), (SOURCE, hello)]


def test_a_fold_says_in_its_hello_that_it_is_sticky():
    ((_, hello),) = Saying(sticky=True).greet(SOURCE)
    assert hello.sticky


def test_a_loss_is_told_to_all_sources_and_a_gap_to_the_neighbour(upstream):
    assert upstream.report_loss() == [(SOURCE, Lost("b", 0))]
    assert upstream.reject(make_batch(sender="a.0", link=7)) == [(ABOVE, Lost("b", 0, 7))]


def test_by_pub_sub_nobody_gets_credit_and_nobody_is_told_of_a_gap(upstream):
    batch = make_batch(sender="feed.0", reliable=False)
    assert upstream.credit(batch) == upstream.reject(batch) == []


def test_a_credit_tells_how_long_a_message_takes(upstream):
    upstream.upstream.message_s = 0.5
    batch = make_batch(sender="a.0", link=7, number=3)
    assert upstream.credit(batch) == [(ABOVE, Credit("b", 0, 7, 4, 0.5))]


def test_acknowledgements_go_to_the_sources_that_this_stage_may_have(upstream):
    acks = [Ack("b", 0, source, 1, 0, ((0, 2),)) for source in ("s.0", "stranger.0")]
    assert [upstream.acknowledge(ack) for ack in acks] == [[(SOURCE, acks[0])], []]


def test_who_leaves_says_bye_and_a_publisher_is_asked_for_its_start_by_a_hello(upstream):
    assert upstream.leave(ABOVE) == [(ABOVE, Bye("b", 0, 4))]
    assert upstream.ask_for_start("feed.0") == [(FEED, Hello(1, "b", 0, 4))]
