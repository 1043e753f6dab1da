from pathlib import Path

import msgspec
import pytest
from batches import make_batch

from arroyo.codec import Kind, MessageCodec, Reason, Tombstone, join
from arroyo.config.graph import Chain
from arroyo.errors import DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Event, Message, Start, Stop
from arroyo.runner.quarantine.failure_streak import STREAK_MESSAGES
from arroyo.runner.quarantine.store import Quarantine
from arroyo.runner.quarantine.writer import QuarantineWriter, StageBrokenError
from arroyo.runner.user_code.reading import BatchReader
from arroyo.testing import FakeClock


def make_codec(kind):
    reading = msgspec.defstruct("Reading", [("value", kind)], bases=(Message,))
    sample = msgspec.defstruct("Sample", [("name", kind, kind())], bases=(Start,))
    return MessageCodec([reading, sample]), reading, sample


SENDER, Reading, Sample = make_codec(int)


@pytest.fixture
def isolation(tmp_path):
    chain = Chain("saxs", Path("/"), Path("/chain.toml"), {})
    store = Quarantine(tmp_path)
    return QuarantineWriter(store, chain, ReplicaName("work", 0), make_codec(str)[0], FakeClock())


@pytest.fixture
def reader(isolation):
    return BatchReader(make_codec(str)[0], isolation)


def read(reader, messages, **fields):
    body, places, payloads = join([SENDER.encode(message) for message in messages])
    batch = make_batch(base=1, **{"ranges": ((1, 1 + len(messages)),), **fields})
    return reader.read(batch, bytes(body), places, payloads)


def test_a_message_that_can_not_be_read_becomes_a_tombstone_among_its_neighbours(reader, isolation):
    batch, messages = read(reader, [Event({"n": 0}), Reading(1), Event({"n": 2})])
    assert [message.metadata["n"] for message in messages] == [0, 2]
    assert batch.ranges == ((1, 2), (3, 4))
    assert batch.tombstones == (Tombstone(2, 3, Reason.QUARANTINED),)
    (entry,) = isolation.store.entries()
    assert (entry.sequence, entry.type, entry.key) == (1, "Reading", "src.0/run/1")
    assert (
        entry.reason == "can't be read: a Reading is not as declared: value: expected str, got int"
    )
    assert SENDER.unpack(isolation.store.message(entry.id)) == Reading(1)
    assert reader.unreadable == 1


def test_a_neighbour_that_was_changed_is_had_anew_as_it_came(reader):
    _, (first, last) = read(reader, [Event({"n": 0}), Reading(1), Event({"n": 2})])
    last.metadata["n"] = first.metadata["n"] = 99
    assert reader.as_it_came(last).metadata == {"n": 2}
    assert reader.as_it_came(first).metadata == {"n": 0}


def test_many_in_a_row_are_the_stages_fault_but_not_with_one_between_that_can_be_read(reader):
    for _ in range(3):
        read(reader, [*[Reading(1)] * (STREAK_MESSAGES - 1), Event()])
    with pytest.raises(StageBrokenError):
        read(reader, [Reading(1)] * (STREAK_MESSAGES + 1))


def test_a_start_that_can_not_be_read_is_replaced_by_one_with_its_data(reader, isolation):
    batch, messages = read(reader, [Sample({"energy": 10}, 5)], kind=Kind.START, ranges=((0, 1),))
    assert messages == [Start({"energy": 10})]
    assert (batch.kind, batch.ranges, batch.tombstones) == (Kind.START, ((0, 1),), ())
    (entry,) = isolation.store.entries()
    assert (entry.key, entry.sequence, entry.type) == ("src.0/run/start", -1, "Sample")


@pytest.mark.parametrize(("kind", "stand_in"), [(Kind.START, Start()), (Kind.STOP, Stop())])
def test_a_start_or_stop_of_which_nothing_can_be_read_is_replaced_by_an_empty_one(
    reader, isolation, kind, stand_in
):
    batch = make_batch(base=1, kind=kind, ranges=((0, 1),))
    with pytest.raises(DecodeError):
        reader.read(batch, b"\xc1", (), ())
    assert reader.give_up(batch, [b"\xc1"], DecodeError("no list"))[1] == [stand_in]
    assert len(isolation.store.entries()) == 1


def test_frames_of_which_nothing_can_be_read_are_buried_as_one(reader, isolation):
    batch, messages = reader.give_up(make_batch(), [b"\xc1"], DecodeError("no list"))
    assert messages == []
    assert batch.tombstones == (Tombstone(0, 2, Reason.QUARANTINED),)
    assert len(isolation.store.entries()) == 1


def test_a_body_with_another_number_of_messages_than_its_header_says_is_no_body(reader, isolation):
    with pytest.raises(DecodeError):
        read(reader, [Reading(1), Event()], ranges=((1, 9),))
    assert isolation.store.entries() == []
