import pytest
from quarantine_entries import make_entry
from unit.protocol.model import chain, listener, operator, publisher

from arroyo.codec import Kind, MessageCodec
from arroyo.control.quarantine import Quarantine
from arroyo.identifiers import ReplicaName
from arroyo.messages import Event
from arroyo.runner.returning import LOOK_S, Returning

CODEC = MessageCodec(())
CHAIN = chain(listener("src"), operator("work", "src"), publisher("out", "work"))


@pytest.fixture
def store(tmp_path):
    return Quarantine(tmp_path)


@pytest.fixture
def returning(store):
    return Returning(CHAIN, ReplicaName("src", 0), store, CODEC)


def put(store, number="one", **changes):
    store.put(make_entry(number, **changes), CODEC.pack(Event({"name": number})))
    store.requeue(number)


def test_what_is_wanted_back_is_sent_once_and_is_gone_when_it_is_finished(store, returning):
    put(store)
    (intake,) = returning.look(0.0)
    assert (intake.kind, intake.enters, intake.tokens) == (Kind.EVENTS, "work", (None,))
    assert intake.items == [CODEC.encode(Event({"name": "one"}))]
    assert list(returning.look(LOOK_S)) == []
    returning.finish([b"another"])
    assert len(store.requeued()) == 1
    returning.finish(intake.items)
    assert store.requeued() == []


def test_it_looks_once_a_second(store, returning):
    assert list(returning.look(0.0)) == []
    put(store)
    assert list(returning.look(LOOK_S / 2)) == []
    assert len(list(returning.look(LOOK_S))) == 1


def test_what_is_of_another_source_is_left_to_that(store, returning):
    put(store, source="src.1")
    assert list(returning.look(0.0)) == []
    assert len(store.requeued()) == 1


@pytest.mark.parametrize("changes", [{"enters": "gone"}, {"type": ""}])
def test_what_can_not_be_sent_stays_in_quarantine(store, returning, changes):
    put(store, **changes)
    assert list(returning.look(0.0)) == []
    assert (len(store.entries()), store.requeued()) == (1, [])
