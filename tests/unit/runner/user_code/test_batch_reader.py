import weakref
from pathlib import Path

import msgspec
import pytest
from batches import make_batch

from arroyo.codec import Kind, MessageCodec, Reason, Tombstone, join
from arroyo.config.graph import Chain
from arroyo.errors import DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Event, Message, Start, Stop
from arroyo.runner.quarantine.store import Quarantine
from arroyo.runner.quarantine.writer import STREAK_MESSAGES, QuarantineWriter, StageBrokenError
from arroyo.runner.user_code.batch_reader import BatchReader
from arroyo.testing import FakeClock


def make_codec(kind):
    reading = msgspec.defstruct("Reading", [("value", kind)], bases=(Message,))
    sample = msgspec.defstruct("Sample", [("name", kind, kind())], bases=(Start,))
    return MessageCodec([reading, sample]), reading, sample


SENDER, Reading, Sample = make_codec(int)


@pytest.fixture
def quarantine(tmp_path):
    chain = Chain("saxs", Path("/"), Path("/chain.toml"), {})
    store = Quarantine(tmp_path)
    return QuarantineWriter(store, chain, ReplicaName("work", 0), make_codec(str)[0], FakeClock())


@pytest.fixture
def reader(quarantine):
    return BatchReader(make_codec(str)[0], quarantine)


def read(reader, messages, **fields):
    body, places, payloads = join([SENDER.encode(message) for message in messages])
    batch = make_batch(base=1, **{"ranges": ((1, 1 + len(messages)),), **fields})
    return reader.read(batch, bytes(body), places, payloads)


def test_a_message_that_can_not_be_read_becomes_a_tombstone_among_others(reader, quarantine):
    batch, messages = read(reader, [Event({"n": 0}), Reading(1), Event({"n": 2})])
    assert [message.metadata["n"] for message in messages] == [0, 2]
    assert batch.ranges == ((1, 2), (3, 4))
    assert batch.tombstones == (Tombstone(2, 3, Reason.QUARANTINED),)
    (entry,) = quarantine.store.entries()
    assert (entry.sequence, entry.type, entry.key) == (1, "Reading", "src.0/run/1")
    assert (
        entry.reason == "can't be read: a Reading is not as declared: value: expected str, got int"
    )
    assert SENDER.unpack(quarantine.store.message(entry.id)) == Reading(1)
    assert reader.unreadable == 1


def test_a_neighbour_that_was_changed_is_had_anew_as_it_came(reader):
    _, (first, last) = read(reader, [Event({"n": 0}), Reading(1), Event({"n": 2})])
    last.metadata["n"] = first.metadata["n"] = 99
    assert reader.as_it_came(last).metadata == {"n": 2}
    assert reader.as_it_came(first).metadata == {"n": 0}
    reader.restore()
    assert (first.metadata, last.metadata) == ({"n": 0}, {"n": 2})


class CountingCodec(MessageCodec):
    decoded = 0

    def decode(self, body, detached, payloads):
        self.decoded += 1
        return super().decode(body, detached, payloads)


def test_a_batch_is_decoded_once_for_all_its_messages_as_they_came(quarantine):
    codec = CountingCodec()
    reader = BatchReader(codec, quarantine)
    for _ in range(2):
        _, events = read(reader, [Event({"n": number}) for number in range(50)])
        codec.decoded = 0
        for event in events:
            event.metadata["n"] = -1
        assert [reader.as_it_came(each).metadata["n"] for each in events] == list(range(50))
        assert codec.decoded == 1


def test_payloads_of_messages_that_are_done_are_let_go_of(quarantine):
    codec = MessageCodec()
    reader = BatchReader(codec, quarantine)
    body, places, payloads = join([codec.encode(Event({}, bytes(20_000))) for _ in range(2)])
    views = [memoryview(bytearray(payload)).toreadonly() for payload in payloads]
    batch = make_batch(ranges=((1, 3),), detached=places)
    _, events = reader.read(batch, bytes(body), places, views)
    holders = [weakref.ref(view) for view in views]
    assert reader.as_it_came(events[0]).payload is views[0]
    reader.put_down({id(events[0])}, {id(views[0])})
    del events[0], views[0]
    assert [holder() is None for holder in holders] == [True, False]
    reader.put_down_all()
    events.clear()
    views.clear()
    assert holders[1]() is None


def test_many_in_a_row_are_the_stages_fault_but_not_with_one_between_that_can_be_read(reader):
    for _ in range(3):
        read(reader, [*[Reading(1)] * (STREAK_MESSAGES - 1), Event()])
    with pytest.raises(StageBrokenError):
        read(reader, [Reading(1)] * (STREAK_MESSAGES + 1))


def test_a_start_that_can_not_be_read_is_replaced_by_one_with_its_data(reader, quarantine):
    batch, messages = read(reader, [Sample({"energy": 10}, 5)], kind=Kind.START, ranges=((0, 1),))
    assert messages == [Start({"energy": 10})]
    assert (batch.kind, batch.ranges, batch.tombstones) == (Kind.START, ((0, 1),), ())
    reader.restore()
    assert reader.as_it_came(messages[0]) is messages[0]
    (entry,) = quarantine.store.entries()
    assert (entry.key, entry.sequence, entry.type) == ("src.0/run/start", -1, "Sample")


@pytest.mark.parametrize(("kind", "stand_in"), [(Kind.START, Start()), (Kind.STOP, Stop())])
def test_a_start_or_stop_of_which_nothing_can_be_read_is_replaced_by_an_empty_one(
    reader, quarantine, kind, stand_in
):
    batch = make_batch(base=1, kind=kind, ranges=((0, 1),))
    with pytest.raises(DecodeError):
        reader.read(batch, b"\xc1", (), ())
    assert reader.give_up(batch, [b"\xc1"], DecodeError("no list"))[1] == [stand_in]
    assert len(quarantine.store.entries()) == 1


def test_frames_of_which_nothing_can_be_read_are_buried_as_one(reader, quarantine):
    batch, messages = reader.give_up(make_batch(), [b"\xc1"], DecodeError("no list"))
    assert messages == []
    assert batch.tombstones == (Tombstone(0, 2, Reason.QUARANTINED),)
    assert len(quarantine.store.entries()) == 1


def test_a_body_with_another_number_of_messages_than_its_header_says_is_no_body(reader, quarantine):
    with pytest.raises(DecodeError):
        read(reader, [Reading(1), Event()], ranges=((1, 9),))
    assert quarantine.store.entries() == []


class Touched(Message):
    values: list[int]
    name: str = ""


def test_what_was_changed_in_place_is_made_again_what_it_was(quarantine):
    codec = MessageCodec([Touched])
    reader = BatchReader(codec, quarantine)
    large = Event({"n": 0}, bytes(20_000))
    body, places, payloads = join([codec.encode(each) for each in (large, Touched([1, 2], "a"))])
    batch = make_batch(ranges=((1, 3),), detached=places)
    _, messages = reader.read(batch, bytes(body), places, list(map(memoryview, payloads)))
    event, touched = messages
    view = event.payload
    event.metadata["n"] = event.dtype = touched.name = "spoilt"
    touched.values.append(3)
    msgspec.structs.force_setattr(event, "payload", b"spoilt")
    reader.restore()
    assert messages[0] is event
    assert event.payload is view  # it may be passed on without a copy
    assert (event.metadata, event.dtype) == ({"n": 0}, "")
    assert touched == Touched([1, 2], "a")
    reader.put_down({id(event)}, {id(view)})
    reader.restore()
