import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from arroyo.codec import PROTOCOL_VERSION, Batch, Hello, Kind, MessageCodec, Open, encode_record
from arroyo.config.graph import Chain, Input, Stage
from arroyo.config.run_directory import RunDirectory
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.identifiers import ReplicaName
from arroyo.links.addresses import Addresses
from arroyo.links.link_events import BackRecordReceived, DataReceived, LinkBroken, SenderConnected
from arroyo.links.socket_context import SocketContext
from arroyo.links.sockets import Links, PushSocket
from arroyo.messages import Event
from arroyo.protocol.values.actions import Connect, Reply, Transmit

ABOVE, BELOW = ReplicaName("count", 0), ReplicaName("write", 0)
TRIES = 500


@pytest.fixture
def addresses(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create()
    stages = {
        "count": Stage(name="count", role="listener", target="own:Count"),
        "write": Stage(
            name="write", role="publisher", target="own:Write", inputs=(Input("count"),)
        ),
    }
    chain = Chain(name="numbers", folder=tmp_path, path=Path("chain.toml"), stages=stages)
    return Addresses(chain, directory)


@contextmanager
def links(name, addresses, **wanted):
    rejected = []
    given = {"receives": False, "sends": False, "publishes": False, "subscriptions": []}
    given |= {"above": [ABOVE], "below": [BELOW]}
    made = Links(name, addresses, **{**given, **wanted}, reject=rejected.append)
    made.rejected = rejected
    try:
        yield made
    finally:
        made.close()


def wait_for(kind, made):
    for _ in range(TRIES):
        for event in made.poll(0.01):
            if isinstance(event, kind):
                return event
    pytest.fail(f"no {kind.__name__} came")
    return None


@contextmanager
def stranger(address):
    """A socket of somebody who belongs to no chain."""
    context = zmq.Context()
    with context, context.socket(zmq.PUSH) as socket:
        socket.connect(address)
        yield socket


def wait_for_rejects(made, count):
    """Read until so many records were rejected; none may be handed on."""
    for _ in range(TRIES):
        if len(made.rejected) == count:
            return
        assert list(made.poll(0.01)) == []
    pytest.fail(f"{len(made.rejected)} of {count} records were rejected")


def connect(made):
    made.perform(
        [Connect(BELOW, 1), Transmit(BELOW, Open(PROTOCOL_VERSION, *ABOVE, incarnation=7, link=1))]
    )


def test_a_record_goes_down_and_an_answer_comes_back(addresses):
    with (
        links(ABOVE, addresses, sends=True) as above,
        links(BELOW, addresses, receives=True) as below,
    ):
        connect(above)
        assert wait_for(DataReceived, below).record.incarnation == 7
        below.perform([Reply(ABOVE, Hello(PROTOCOL_VERSION, *BELOW, incarnation=9))])
        assert wait_for(BackRecordReceived, above).record.incarnation == 9


def test_the_end_of_a_replica_below_is_told_with_its_link(addresses):
    with links(ABOVE, addresses, sends=True) as above:
        with links(BELOW, addresses, receives=True) as below:
            connect(above)
            wait_for(DataReceived, below)
        assert wait_for(LinkBroken, above) == LinkBroken(BELOW, 1)


def test_each_life_of_a_replica_above_is_told(addresses):
    with links(BELOW, addresses, receives=True) as below:
        below.perform([Reply(ABOVE, Hello(PROTOCOL_VERSION, *BELOW, incarnation=9))])
        for _ in range(2):
            with links(ABOVE, addresses, sends=True):
                assert wait_for(SenderConnected, below) == SenderConnected(ABOVE)


def test_a_frame_that_is_no_record_is_rejected_and_the_next_one_taken(addresses):
    with (
        links(BELOW, addresses, receives=True) as below,
        stranger(addresses.data(BELOW)) as socket,
    ):
        socket.send(b"hello?")
        with links(ABOVE, addresses, sends=True) as above:
            connect(above)
            assert wait_for(DataReceived, below).record.incarnation == 7
            wait_for_rejects(below, 1)


@pytest.mark.parametrize("name", [ReplicaName("nobody", 0), ReplicaName("count", 1)])
def test_records_of_strangers_from_above_are_rejected(addresses, name):
    strange = Batch(str(name), 1, 0, Kind.EVENTS, "run", str(ABOVE), 1, 0, 0, 0)
    records = [Open(PROTOCOL_VERSION + 1, *name, 7, 1), Open(PROTOCOL_VERSION, *name, 7, 1)]
    with (
        links(BELOW, addresses, receives=True) as below,
        stranger(addresses.data(BELOW)) as socket,
    ):
        for record in records:
            socket.send(encode_record(record))
        socket.send_multipart([encode_record(strange), b"\x90"])
        wait_for_rejects(below, 3)
        assert f"of {name}, which is no stage above" in str(below.rejected[0])


@pytest.mark.parametrize("name", [ReplicaName("nobody", 0), ReplicaName("write", 1)])
def test_records_of_strangers_from_below_are_rejected(addresses, name):
    with (
        links(ABOVE, addresses, sends=True) as above,
        stranger(addresses.back(ABOVE)) as socket,
    ):
        socket.send(encode_record(Hello(PROTOCOL_VERSION, *name, incarnation=9)))
        wait_for_rejects(above, 1)
        assert f"Hello of {name}, which is no stage below" in str(above.rejected[0])


def test_waking_ends_a_wait(addresses):
    with links(ABOVE, addresses, sends=True) as above:
        above.wake()
        assert list(above.poll(None)) == []


def test_a_port_that_is_taken_is_told_in_words(addresses, tmp_path):
    stage = Stage(name="write", role="publisher", target="own:W", listen="tcp://192.0.2.1:5000")
    chain = Chain("numbers", tmp_path, Path("chain.toml"), {"write": stage})
    elsewhere = Addresses(chain, RunDirectory(tmp_path))
    with (
        pytest.raises(ConfigurationError, match=r"tcp://192\.0\.2\.1:5000 can't be bound"),
        links(BELOW, elsewhere, receives=True),
    ):
        pass


def test_a_disk_without_room_for_a_socket_is_worth_trying_again(addresses, small_disk, tmp_path):
    folder = small_disk(64, tmp_path / "in", files=1)  # which is the folder itself
    with (
        pytest.raises(UnavailableError, match=f"{folder}/write.0 can't be bound: No space left"),
        links(BELOW, addresses, receives=True),
    ):
        pass


def test_waking_after_the_end_writes_into_nobody_elses_file(addresses):
    with links(ABOVE, addresses, sends=True) as above:
        pass
    other = os.eventfd(0, os.EFD_NONBLOCK)  # gets the number that has become free
    try:
        above.wake()
        with pytest.raises(BlockingIOError):
            os.eventfd_read(other)
    finally:
        os.close(other)


def test_a_link_that_can_not_be_made_keeps_no_process_from_its_end(addresses, tmp_path):
    stage = Stage(name="write", role="publisher", target="own:W", listen="tcp://nowhere:-1")
    chain = Chain("numbers", tmp_path, Path("chain.toml"), {"write": stage})
    elsewhere = Addresses(chain, RunDirectory(tmp_path))
    with links(ABOVE, elsewhere) as above, pytest.raises(zmq.ZMQError) as kept:
        above.perform([Connect(BELOW, 1)])
    assert kept.tb  # which holds what was made on the way


def test_no_socket_file_is_left(addresses, tmp_path):
    with links(BELOW, addresses, receives=True, sends=True, publishes=True):
        assert len(list(tmp_path.glob("*/write.0"))) == 3
    assert not list(tmp_path.glob("*/write.0"))


def test_a_batch_says_when_it_left(addresses):
    batch = Batch(str(ABOVE), 1, 0, Kind.EVENTS, "run", str(ABOVE), 1, 0, 0, 0, ranges=((0, 1),))
    with (
        links(ABOVE, addresses, sends=True) as above,
        links(BELOW, addresses, receives=True) as below,
    ):
        connect(above)
        wait_for(DataReceived, below)
        before_ns = time.monotonic_ns()
        above.perform([Transmit(BELOW, batch, [MessageCodec(()).encode(Event())])])
        after_ns = time.monotonic_ns()
        assert before_ns <= wait_for(DataReceived, below).record.sent_ns <= after_ns


WAIT_MS = 5000


def test_a_peer_is_seen_to_come_and_to_go(tmp_path):
    address = f"ipc://{tmp_path}/peer"
    context, peers = SocketContext(), SocketContext()
    push = PushSocket(context.socket(zmq.PUSH), link=3)
    try:
        assert push.take_events() == set()
        push.socket.connect(address)
        peer = peers.bind(zmq.PULL, address)
        assert push.monitor.poll(WAIT_MS)
        assert push.take_events() == {zmq.EVENT_HANDSHAKE_SUCCEEDED}
        assert push.connected
        peer.close()
        assert push.monitor.poll(WAIT_MS)
        assert zmq.EVENT_DISCONNECTED in push.take_events()
        assert not push.connected
    finally:
        push.close(0)
        context.close(0)
        peers.close(0)


def test_closing_does_not_wait_for_a_peer_that_never_came(tmp_path):
    context = SocketContext()
    push = PushSocket(context.socket(zmq.PUSH))
    push.socket.connect(f"ipc://{tmp_path}/nobody")
    push.socket.send(b"record")
    push.close(linger_ms=-1)  # for ever
    context.close(0)
