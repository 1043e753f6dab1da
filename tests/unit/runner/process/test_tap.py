"""A replica's tap: what is copied for a command that looks, and how often."""

import os

import pytest
from batches import make_batch

from arroyo import Event, Start
from arroyo.codec import (
    Body,
    Detached,
    Kind,
    MessageCodec,
    Open,
    Shared,
    decode_data,
    encode_record,
    join,
)
from arroyo.config.graph import Stage
from arroyo.control.tap_file import Sample, TapFile
from arroyo.errors import DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.messages import SlabReference
from arroyo.protocol.values.actions import Broadcast, Connect, Transmit
from arroyo.runner.process.tap import (
    BYTES_PER_S,
    LOOK_S,
    PAYLOAD_BYTES_MAX,
    SAMPLES_PER_S,
    Tap,
    pause_s,
)
from arroyo.testing import FakeClock

CODEC = MessageCodec()
EVENTS = [CODEC.encode(Event({"index": index}, b"abc")) for index in range(2)]
ALONE = make_batch(ranges=((1, 2),))
LARGE = b"x" * 20_000
WORK, LIVE, OTHER = (
    Stage(name=name, role="publisher", target="own:P") for name in ("work", "live", "other")
)
REFERENCE = SlabReference("pool", 0, len(LARGE), 1)


class Slabs:
    """Payloads in shared memory: one."""

    def __init__(self):
        self.gone = False
        self.lent = 0

    def view(self, reference):
        assert reference == REFERENCE
        if self.gone:
            raise DecodeError("gone")
        self.lent += 1
        return memoryview(LARGE)

    def release(self):
        self.lent = 0


class Tapped:
    """A replica that sends and gets batches, and a command that looks at it."""

    def __init__(self, path, below):
        self.path = path
        self.slabs = Slabs()
        self.clock = FakeClock()
        self.tap = Tap(path, below, self.slabs, self.clock)
        self.command = None

    def look(self):
        self.command = TapFile(self.path)
        self.command.ask()
        self.tap.look()

    def ask(self):
        self.clock.advance(10.0)
        self.command.ask()

    def sends(self, items, to="work", batch=None):
        record = batch or make_batch(ranges=((0, len(items)),))
        self.tap.send(Transmit(ReplicaName(to, 0), record, items))
        return self.command.take()


@pytest.fixture
def make_tapped(tmp_path):
    made = []

    def make(*below):
        made.append(Tapped(tmp_path / "images.0", below))
        return made[-1]

    yield make
    for each in made:
        each.tap.close()
        if each.command is not None:
            each.command.close()


@pytest.fixture
def source(make_tapped):
    tapped = make_tapped((WORK, "push-pull"))
    tapped.look()
    return tapped


@pytest.fixture
def sink(make_tapped):
    tapped = make_tapped()
    tapped.look()
    return tapped


def body_of(messages):
    body = Body()
    for message in messages:
        body.append(message)
    return body


@pytest.mark.parametrize("gather", [list, body_of])
def test_one_message_of_a_batch_is_copied_with_its_own_header(source, gather):
    sample = source.sends(gather(EVENTS))  # the sample's number decides which
    assert sample == Sample(encode_record(ALONE), EVENTS[1])


def test_each_place_of_a_batch_has_its_turn(source):
    seen = [source.sends(EVENTS).message]
    for _ in range(2):
        source.ask()
        seen.append(source.sends(EVENTS).message)
    assert seen == [EVENTS[1], EVENTS[0], EVENTS[1]]


def test_a_payload_beside_its_message_is_copied_from_where_it_is(source):
    sample = source.sends([Shared(EVENTS[0], REFERENCE)])
    assert sample[1:] == (EVENTS[0], LARGE, len(LARGE))
    assert source.slabs.lent == 0
    source.ask()
    assert source.sends([Detached(EVENTS[0], b"payload")])[1:] == (EVENTS[0], b"payload", 7)


def test_a_payload_that_is_gone_is_no_sample(source):
    source.slabs.gone = True
    assert source.sends([Shared(EVENTS[0], REFERENCE)]) is None
    source.clock.advance(1.0)
    assert source.sends(EVENTS) is not None


def test_of_a_very_large_payload_the_size_is_told(source):
    size = PAYLOAD_BYTES_MAX + 1
    sample = source.sends([Shared(EVENTS[0], SlabReference("pool", 0, size, 1))])
    assert (bytes(sample.payload), sample.payload_bytes) == (b"", size)


def test_control_messages_are_shown_and_announcements_are_not(source):
    start = CODEC.encode(Start({"sample": "Si"}))
    control = {"ranges": ((0, 1),), "base": 1}
    assert source.sends([start], batch=make_batch(kind=Kind.CLOSING, **control)) is None
    source.clock.advance(1.0)
    sample = source.sends([start], batch=make_batch(kind=Kind.START, **control))
    assert (decode_data(sample.header).kind, sample.message) == (Kind.START, start)


def test_what_goes_to_several_stages_is_looked_at_once(make_tapped):
    tapped = make_tapped((LIVE, "pub-sub"), (OTHER, "push-pull"), (WORK, "push-pull"))
    tapped.look()
    tapped.tap.send(Broadcast(make_batch(), EVENTS))
    assert tapped.sends(EVENTS, to="work") is None
    assert tapped.sends(EVENTS, to="other") is not None


def test_what_goes_to_subscribers_only_is_looked_at_there(make_tapped):
    tapped = make_tapped((LIVE, "pub-sub"))
    tapped.look()
    tapped.tap.send(Broadcast(make_batch(), EVENTS))
    assert tapped.command.take().message == EVENTS[1]


def test_records_without_messages_pass_by(source):
    source.tap.send(Connect(ReplicaName("work", 0), 1))
    source.tap.send(Transmit(ReplicaName("work", 0), Open(1, "images", 0, 1, 1)))
    assert source.sends([], batch=make_batch(ranges=())) is None
    assert source.sends(EVENTS) is not None


def test_of_a_publisher_it_is_what_comes(sink):
    items = [EVENTS[0], Detached(EVENTS[1], LARGE)]
    body, detached, payloads = join(items)
    sink.tap.take(make_batch(detached=detached), [body, *payloads])
    assert sink.command.take() == Sample(encode_record(ALONE), EVENTS[1], LARGE, len(LARGE))
    sink.ask()
    sink.tap.take(make_batch(slabs=((0, REFERENCE),)), [join(EVENTS)[0]])
    assert sink.command.take()[1:] == (EVENTS[0], LARGE, len(LARGE))


def test_of_an_operator_it_is_not_what_comes(source):
    source.tap.take(make_batch(), [join(EVENTS)[0]])
    assert source.command.take() is None


def test_nobody_looks_until_the_file_is_there(make_tapped):
    tapped = make_tapped((WORK, "push-pull"))
    tapped.tap.look()
    assert not tapped.tap.is_open
    tapped.look()
    assert tapped.tap.is_open


def test_when_the_command_has_gone_it_is_over(source):
    source.command.close()
    source.tap.look()
    assert not source.tap.is_open
    assert not source.path.exists()
    source.look()
    assert source.sends(EVENTS) is not None


def test_a_chain_in_one_process_has_none(make_tapped):
    tap = Tap(None, (), Slabs(), FakeClock())
    tap.look()
    assert not tap.is_open


def test_a_tap_that_fails_is_over(source, monkeypatch):
    def fail(*_):
        raise OSError(5, "broken")

    monkeypatch.setattr(os, "pwritev", fail)
    assert source.sends(EVENTS) is None
    assert not source.tap.is_open


def test_it_is_looked_for_a_wish_only_now_and_then(source):
    source.sends(EVENTS)
    source.clock.advance(1.0)
    assert source.sends(EVENTS) == source.command.take()  # nothing is wanted
    source.command.ask()
    assert source.sends(EVENTS) is None
    source.clock.advance(LOOK_S)
    assert source.sends(EVENTS) is not None


def test_however_much_is_asked_for_little_is_copied(source):
    large = [Shared(EVENTS[0], REFERENCE)]
    given = 0
    for _ in range(4000):
        given += source.sends(large) is not None
        if not source.command.waits:
            source.command.ask()
        source.clock.advance(0.001)
    assert given <= 4 * SAMPLES_PER_S + 1


def test_the_pause_follows_the_size():
    assert pause_s(100) == 1 / SAMPLES_PER_S
    assert pause_s(8 << 20) == (8 << 20) / BYTES_PER_S
