"""A source that says what is lost, and does not send it again."""

from __future__ import annotations

from functools import partial

import pytest
from unit.protocol.source.test_source import Sink, brief

from arroyo.codec import Ack, Hello, Kind
from arroyo.protocol.recovery.volatile import Volatile
from arroyo.protocol.source.loss_policy import CountAsLost


def make(**options):
    return Sink(recover=partial(Volatile, epoch=1), loss=CountAsLost(), **options)


@pytest.fixture
def chain():
    sink = make()
    sink.accept(Kind.START, "start")
    sink.accept(Kind.EVENTS, "a", "b", "c")
    sink.acknowledge((0, 1))
    return sink


def test_what_leaves_by_pub_sub_alone_is_finished_by_that():
    sink = make(pub_sub=True, push_pull=False)
    sink.accept(Kind.START, "start")
    ((_, items),) = sink.accept(Kind.EVENTS, "a", "b")
    assert items == ["a", "b"]
    assert sink.source.ledger.empty
    assert sink.source.lost == 0


def let_die(chain, now=1.0, life=2):
    """The stage below dies and comes back; returns what is sent until nothing more is due."""
    chain.take(chain.source.record(Hello(1, "b", 0, life), now))
    sent = []
    while chain.source.deadline is not None and chain.source.deadline < now + 20:
        sent += chain.take(chain.source.tick(chain.source.deadline))
    return sent


def test_what_a_death_took_is_given_up_and_named_in_the_stop(chain):
    chain.acknowledge((2, 3))
    assert let_die(chain) == []
    assert chain.source.lost == 2
    assert chain.source.ledger.empty
    ((stop, items),) = chain.stop()
    assert stop.kind == Kind.STOP
    (totals,) = items
    assert (totals["lost"], totals["missing"]) == (2, [[0, 1], [2, 3]])
    assert not totals["complete"]


def test_nothing_is_given_up_while_acknowledgements_still_come(chain):
    chain.take(chain.source.record(Hello(1, "b", 0, 2), 1.0))
    chain.source.tick(chain.source.deadline)
    chain.take(chain.source.tick(chain.source.deadline))
    chain.acknowledge((1, 4))
    assert chain.source.lost == 0
    assert chain.source.ledger.empty


def test_start_and_stop_come_again_as_ever():
    chain = make()
    chain.accept(Kind.START, "start")
    assert [kind for kind, *_ in brief(let_die(chain))] == [Kind.START]
    assert chain.source.lost == 0


def test_what_arrives_after_it_was_given_up_is_not_lost(chain):
    chain.accept(Kind.EVENTS, "d")
    chain.acknowledge((1, 2))
    let_die(chain)
    assert chain.source.lost == 3
    chain.acknowledge((2, 4))
    assert chain.source.lost == 1


def test_the_messages_are_let_go_of_when_they_have_left(chain):
    assert all(not list(each.batch.items) for each in list(chain.source.ledger.entries(99.0))[1:])


def test_a_run_begins_with_nothing_missing(chain):
    let_die(chain)
    chain.stop()
    chain.acknowledge((4, 5))
    chain.accept(Kind.START, "next")
    chain.acknowledge((5, 6))
    ((_, items),) = chain.stop()
    assert items[0]["lost"] == 0


def test_a_second_death_in_a_run_adds_only_what_it_took(chain):
    let_die(chain)
    assert chain.source.lost == 3
    chain.accept(Kind.EVENTS, "d", now=50.0)
    let_die(chain, 50.0, life=3)
    assert chain.source.lost == 4


def test_what_a_former_life_is_told_has_not_arrived_in_this_one(chain):
    let_die(chain)
    assert chain.source.lost == 3
    chain.take(chain.source.record(Ack("b", 0, "s.0", 9, 0, ((1, 4),)), 30.0))
    assert chain.source.lost == 3
