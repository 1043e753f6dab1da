import pytest
from quarantine_entries import make_entry
from unit.protocol.model import chain, listener, operator, publisher

from arroyo.codec import DETACH_BYTES, Kind, MessageCodec
from arroyo.identifiers import ReplicaName
from arroyo.messages import Event, Start, Stop
from arroyo.runner.quarantine.requeue import LOOK_S, Requeue
from arroyo.runner.quarantine.store import Quarantine

CODEC = MessageCodec(())
NONE = frozenset()
CHAIN = chain(listener("src"), operator("work", "src"), publisher("out", "work"))


@pytest.fixture
def store(tmp_path):
    return Quarantine(tmp_path)


@pytest.fixture
def returning(store):
    return Requeue(CHAIN, ReplicaName("src", 0), store, CODEC)


def put(store, number="one", start=b"", **changes):
    store.put(make_entry(number, **changes), CODEC.pack(Event({"name": number})), start)
    store.requeue(number)


def test_what_is_wanted_back_is_sent_once_and_is_gone_when_it_is_finished(store, returning):
    put(store)
    (intake,) = returning.look(0.0, NONE)
    assert (intake.kind, intake.enters, intake.tokens) == (Kind.EVENTS, "work", (None,))
    assert intake.items == [CODEC.encode(Event({"name": "one"}))]
    assert list(returning.look(LOOK_S, NONE)) == []
    returning.finish([b"another"])
    assert len(store.requeued()) == 1
    returning.finish(intake.items)
    assert store.requeued() == []


def test_it_looks_once_a_second(store, returning):
    assert list(returning.look(0.0, NONE)) == []
    put(store)
    assert list(returning.look(LOOK_S / 2, NONE)) == []
    assert len(list(returning.look(LOOK_S, NONE))) == 1


def test_what_is_of_another_source_is_left_to_that(store, returning):
    put(store, source="src.1")
    assert list(returning.look(0.0, NONE)) == []
    assert len(store.requeued()) == 1


@pytest.mark.parametrize("changes", [{"enters": "gone"}, {"type": ""}])
def test_what_can_not_be_sent_stays_in_quarantine(store, returning, changes):
    put(store, **changes)
    assert list(returning.look(0.0, NONE)) == []
    assert (len(store.entries()), store.requeued()) == (1, [])


def test_what_can_not_be_sent_is_not_put_into_shared_memory(store):
    codec, kept = MessageCodec(()), []
    codec.keep = kept.append
    message = CODEC.pack(Event({}, bytes(DETACH_BYTES)))
    store.put(make_entry("one", run="old"), message, CODEC.pack(Start()))
    store.runs.note_stop("work", "src.0", "old", b"no message")
    store.requeue("one")
    assert list(Requeue(CHAIN, ReplicaName("src", 0), store, codec).look(0.0, NONE)) == []
    assert (len(store.entries()), kept) == (1, [])


def stop_of(intake):
    return CODEC.unpack(intake.returned.stop)


def test_a_message_of_a_run_that_is_over_brings_its_start_and_stop(store, returning):
    start = CODEC.pack(Start({"gain": 2}))
    for number, sequence in (("one", 3), ("two", 4)):
        put(store, number, start, sequence=sequence, path=1, run="old")
    stop = Stop({"totals": {"sent": 9, "quarantined": 3}})
    store.runs.note_stop("work", "src.0", "old", CODEC.pack(stop))
    first, second = returning.look(0.0, NONE)
    assert first.returned[:4] == ("old", 1, 3, 1)
    assert first.returned.start == start
    assert stop_of(first).data["totals"] == {"sent": 9, "quarantined": 2}
    assert stop_of(second).data["totals"] == {"sent": 9, "quarantined": 1}
    returning.finish([*first.items, *second.items])
    put(store, "three", start, run="old", sequence=5)
    (third,) = returning.look(LOOK_S, NONE)
    assert third.returned.start == start


def test_what_is_brought_back_counts_while_others_of_its_run_are_in_quarantine(store, returning):
    for number in ("one", "two"):
        put(store, number, CODEC.pack(Start()), run="old")
    store.take_back("two")
    store.runs.note_stop("work", "src.0", "old", CODEC.pack(Stop({"totals": {"quarantined": 2}})))
    (first,) = returning.look(0.0, NONE)
    returning.finish(first.items)
    store.requeue("two")
    (second,) = returning.look(LOOK_S, NONE)
    assert stop_of(second).data["totals"] == {"quarantined": 0}
    returning.finish(second.items)
    assert store.runs.find("work", "src.0", "old") == (b"", b"", 0)


def test_a_message_goes_back_into_its_run_while_that_is_open_and_waits_for_another(
    store, returning
):
    put(store, "one", CODEC.pack(Start()), run="open")
    put(store, "two", CODEC.pack(Start()), run="old")
    assert list(returning.look(0.0, None)) == []  # a run is about to end
    (first,) = returning.look(0.0, frozenset({"open"}))
    assert (first.returned.run, first.returned.start) == ("open", b"")
    (second,) = returning.look(0.0, NONE, at_once=True)
    assert second.returned.run == "old"
    assert returning.in_flight


def test_below_several_listeners_the_runs_of_a_fold_overlap_and_nothing_waits(store):
    two = chain(listener("one"), listener("two"), operator("fold", "one", "two"))
    put(store, source="fold.0", enters="fold", run="old")
    returning = Requeue(two, ReplicaName("fold", 0), store, CODEC)
    (intake,) = returning.look(0.0, frozenset({"open"}))
    assert intake.returned.run == "old"
