"""The stages of measured chains: what they send, and what they note."""

import threading

import pytest

from arroyo.bench.meter import read_notes
from arroyo.bench.stages.event_stages import (
    EventSource,
    IdleOperator,
    IdleSink,
    IdleSource,
    ListSink,
    PassThrough,
    PassThroughLists,
    Sink,
)
from arroyo.messages import Event, Start, Stop


class Taken(list):
    """Stands for the chain below a listener."""

    def process(self, message):
        self.append(message)


@pytest.fixture
def source_of(tmp_path):
    return lambda taken, **how: EventSource(
        taken, notes=str(tmp_path), events=3, payload_bytes=10, **how
    )


@pytest.mark.parametrize("interval_s", [0.0, 1e-4])
def test_a_source_makes_one_run(source_of, interval_s, tmp_path):
    taken = Taken()
    source = source_of(taken, interval_s=interval_s)
    source.start()
    source.close()
    assert [type(message) for message in taken] == [Start, Event, Event, Event, Stop]
    assert [event.metadata["index"] for event in taken[1:-1]] == [0, 1, 2]
    assert all(len(event.payload) == 10 for event in taken[1:-1])
    assert ["sent_ns" in event.metadata for event in taken[1:-1]] == [bool(interval_s)] * 3
    assert [note.role for note in read_notes(tmp_path)] == ["source"]


@pytest.mark.parametrize("interval_s", [0.0, 1e-4])
def test_a_source_that_is_stopped_ends_its_run_early(source_of, interval_s):
    taken = Taken()
    source = source_of(taken, interval_s=interval_s)
    source.stop()
    source.start()
    assert [type(message) for message in taken] == [Start, Event, Stop]


def test_what_passes_through_is_the_same_message(tmp_path):
    stage = PassThrough(notes=str(tmp_path))
    for message in (Start(), Event(), Stop()):
        assert stage.process(message) is message
    assert [note.role for note in read_notes(tmp_path)] == ["relay"]


@pytest.mark.parametrize("metadata", [{"index": 0}, {"index": 0, "sent_ns": 5}])
def test_a_sink_notes_what_has_arrived_and_how_long_that_took(metadata, tmp_path):
    sink = Sink(notes=str(tmp_path), events=2)
    for message in (Start(), Event(metadata), Event(metadata), Stop()):
        sink.publish(message)
    (note,) = read_notes(tmp_path)
    assert (note.role, note.arrived) == ("sink", 2)
    assert len(note.latencies_ns) == (2 if "sent_ns" in metadata else 0)


def test_lists_are_passed_on_and_counted_as_what_is_in_them(tmp_path):
    events = [Event({"index": index}) for index in range(5)]
    (tmp_path / "relay").mkdir()
    assert PassThroughLists(notes=str(tmp_path / "relay")).process_batch(events) == events
    sink = ListSink(notes=str(tmp_path), events=8)
    sink.publish(Start())
    sink.publish_batch(events[:3])
    sink.publish_batch(events)
    sink.publish(Stop())
    (note,) = read_notes(tmp_path)
    assert (note.role, note.first, note.arrived) == ("sink", 3, 8)
    assert note.first_ns < note.last_ns


def test_an_idle_chain_does_nothing_until_it_is_stopped():
    taken = Taken()
    source = IdleSource(taken)
    thread = threading.Thread(target=source.start)
    thread.start()
    source.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert taken == []
    event = Event()
    assert IdleOperator().process(event) is event
    assert IdleSink().publish(event) is None
