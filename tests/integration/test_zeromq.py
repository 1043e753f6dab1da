"""The ZeroMQ connectors against plain pyzmq programs: what goes over the wire, and when."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest
import zmq
from chains import listener, wait_until
from outside import (
    DEADLINE_S,
    Recorder,
    array_event,
    assert_is_array_event,
    opened,
    running,
)

from arroyo.connectors import (
    ZMQListener,
    ZMQPublisher,
    ZMQPubSubListener,
    ZMQPubSubPublisher,
    _zeromq_queue,
)
from arroyo.connectors._zeromq_queue import FIRST_MESSAGES, LARGE_BYTES, PEER_BYTES
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Event, Start, Stop
from arroyo.telemetry.status_page import read_status_page

MIB = 1 << 20
HEADER = b'{"type": "Event", "metadata": {"n": 1}}'


@pytest.fixture
def foreign():
    """Makes plain pyzmq sockets, as a program of another project would."""
    context = zmq.Context()
    kept = []

    def make(kind, *, bind="", connect=""):
        made = context.socket(kind)
        kept.append(made)
        made.linger = 0
        made.rcvtimeo = made.sndtimeo = int(DEADLINE_S * 1000)
        if kind == zmq.SUB:
            made.subscribe(b"")
        if bind:
            made.bind(bind)
        if connect:
            made.connect(connect)
        return made

    yield make
    for made in kept:
        made.close()
    context.term()


@pytest.fixture(autouse=True, scope="module")
def keeper_of_large_frames():
    """pyzmq starts a thread for the first large frame, and keeps it until the process ends."""
    with zmq.Context() as context, context.socket(zmq.PUB) as made:
        made.send(zmq.Frame(bytes(LARGE_BYTES), copy=False, track=True))


def endpoint(made):
    return made.getsockopt_string(zmq.LAST_ENDPOINT)


# In


def test_the_classes_are_those_of_the_diagram(tmp_path):
    assert issubclass(ZMQPubSubListener, ZMQListener)
    assert issubclass(ZMQPubSubPublisher, ZMQPublisher)
    for kind, number in ((ZMQListener, zmq.PULL), (ZMQPubSubListener, zmq.SUB)):
        with opened(kind(Recorder(), f"ipc://{tmp_path}/{number}", bind=True)) as made:
            assert made.socket.type == number


def test_a_plain_program_feeds_a_chain(foreign):
    push = foreign(zmq.PUSH, bind="tcp://127.0.0.1:*")
    recorder = Recorder()
    with running(ZMQListener(recorder, endpoint(push))):
        push.send_json({"type": "Start", "data": {"sample": "AgBeh"}})
        push.send_multipart([HEADER, b"abc"])
        push.send_multipart([b"topic", HEADER, b"def"])
        image = np.arange(40_000, dtype="<u2").reshape(200, 200)
        header = {"type": "Event", "dtype": image.dtype.str, "shape": image.shape}
        push.send_multipart([json.dumps(header).encode(), image])
        push.send_multipart([b'{"type": "Stop"}', b""])
        messages = recorder.wait_for(5)
    assert messages[:3] == [
        Start({"sample": "AgBeh"}),
        Event({"n": 1}, b"abc"),
        Event({"n": 1}, b"def"),
    ]
    np.testing.assert_array_equal(messages[3].array, image)
    assert messages[4] == Stop()


def test_a_large_payload_is_handed_on_as_a_read_only_view(foreign):
    push = foreign(zmq.PUSH, bind="tcp://127.0.0.1:*")
    recorder = Recorder()
    with running(ZMQListener(recorder, endpoint(push), parser="raw")):
        push.send(b"x" * 1_000_000)
        push.send_multipart([b"head", b"small"])
        large, small = recorder.wait_for(2)
    assert isinstance(large.payload, memoryview)
    assert large.payload.readonly
    assert large.payload == b"x" * 1_000_000
    assert small == Event({"frames": [b"head"]}, b"small")


def test_several_programs_send_to_a_listener_that_binds(foreign):
    recorder = Recorder()
    with running(ZMQListener(recorder, port=0, bind=True)) as listener:
        assert not listener.address.endswith(":0")
        for _ in range(3):
            foreign(zmq.PUSH, connect=listener.address).send_multipart([HEADER, b""])
        assert recorder.wait_for(3) == [Event({"n": 1})] * 3


def test_topics_select_what_a_subscriber_gets(foreign):
    publisher = foreign(zmq.XPUB, bind="tcp://127.0.0.1:*")
    recorder = Recorder()
    listener = ZMQPubSubListener(
        recorder, endpoint(publisher), topics=["det", "motor"], parser="raw"
    )
    with running(listener):
        assert {publisher.recv(), publisher.recv()} == {b"\x01det", b"\x01motor"}
        for topic in (b"noise", b"det1", b"motor"):
            publisher.send_multipart([topic, b"abc"])
        messages = recorder.wait_for(2)
    assert messages == [Event({"topic": "det1"}, b"abc"), Event({"topic": "motor"}, b"abc")]


def test_a_subscriber_may_bind_for_publishers_that_connect(foreign):
    recorder = Recorder()
    with running(ZMQPubSubListener(recorder, port=0, bind=True)) as listener:
        publisher = foreign(zmq.XPUB, connect=listener.address)
        assert publisher.recv() == b"\x01"
        publisher.send_multipart([b"any", HEADER, b"abc"])
        assert recorder.wait_for(1) == [Event({"n": 1}, b"abc")]


def test_broken_messages_are_counted_and_the_listener_goes_on(foreign):
    push = foreign(zmq.PUSH, bind="tcp://127.0.0.1:*")
    recorder = Recorder()
    with running(ZMQListener(recorder, endpoint(push))) as listener:
        push.send(b"\x80\x04pickle")
        push.send_multipart([b""] * 7)
        push.send_multipart([HEADER, b"abc"])
        assert recorder.wait_for(1) == [Event({"n": 1}, b"abc")]
        assert listener.rejected == 2


def test_a_frame_beyond_the_limit_costs_its_sender_the_connection_only(foreign):
    recorder = Recorder()
    listener = ZMQListener(recorder, port=0, bind=True, parser="raw", max_message_bytes=1000)
    with running(listener):
        foreign(zmq.PUSH, connect=listener.address).send(b"x" * 1001)
        foreign(zmq.PUSH, connect=listener.address).send(b"x" * 1000)
        assert [len(event.payload) for event in recorder.wait_for(1)] == [1000]


def test_bytes_that_are_no_zeromq_do_no_harm(foreign):
    recorder = Recorder()
    with running(ZMQListener(recorder, port=0, bind=True)) as listener:
        host, port = listener.address.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * 20)
            foreign(zmq.PUSH, connect=listener.address).send_multipart([HEADER, b""])
            assert recorder.wait_for(1) == [Event({"n": 1})]


def test_an_idle_listener_stops_soon(foreign):
    push = foreign(zmq.PUSH, bind="tcp://127.0.0.1:*")
    with running(ZMQListener(Recorder(), endpoint(push))) as listener:
        started_s = time.monotonic()
        listener.stop()
    assert time.monotonic() - started_s < 2.0


def test_a_listener_goes_on_when_its_sender_comes_back(foreign):
    push = foreign(zmq.PUSH, bind="tcp://127.0.0.1:*")
    address = endpoint(push)
    recorder = Recorder()
    with running(ZMQListener(recorder, address)):
        push.send_multipart([HEADER, b""])
        recorder.wait_for(1)
        push.close()
        again = foreign(zmq.PUSH)
        bind_when_free(again, address)
        again.send_multipart([HEADER, b"again"])
        assert recorder.wait_for(2)[1] == Event({"n": 1}, b"again")


def bind_when_free(made, address):
    def bound():
        try:
            made.bind(address)
        except zmq.ZMQError:
            return False
        return True

    wait_until(bound)


# Out


def test_a_plain_program_reads_what_a_chain_pushes(foreign):
    with opened(ZMQPublisher(port=0)) as publisher:
        pull = foreign(zmq.PULL, connect=publisher.address)
        publisher.publish(Start({"sample": "AgBeh"}))
        publisher.publish(array_event())
        assert pull.recv_multipart() == [b"", b'{"type":"Start","data":{"sample":"AgBeh"}}', b""]
        topic, header, payload = pull.recv_multipart()
    assert topic == b""
    assert_is_array_event(header, payload)


def test_a_publisher_is_done_with_the_payload_when_publish_returns(foreign):
    with opened(ZMQPublisher(port=0)) as publisher:
        pull = foreign(zmq.PULL, connect=publisher.address)
        buffer = bytearray(b"a" * 1_000_000)
        publisher.publish(Event({}, buffer))
        buffer[:] = b"b" * 1_000_000
        assert pull.recv_multipart()[2] == b"a" * 1_000_000


def test_a_pusher_that_connects_reaches_a_program_that_binds(foreign):
    pull = foreign(zmq.PULL, bind="tcp://127.0.0.1:*")
    with opened(ZMQPublisher(endpoint(pull), bind=False)) as publisher:
        publisher.publish(Stop({"complete": True}))
        assert pull.recv_multipart()[1] == b'{"type":"Stop","data":{"complete":true}}'


def test_publishing_waits_for_a_receiver_and_nothing_is_dropped(foreign):
    with opened(ZMQPublisher(port=0, high_water_mark=10)) as publisher:
        received = []

        def receive():
            pull = foreign(zmq.PULL, connect=publisher.address)
            received.extend(pull.recv_multipart()[2] for _ in range(2000))

        thread = threading.Thread(target=receive)
        thread.start()
        for number in range(2000):
            publisher.publish(Event({}, b"%d" % number))
        thread.join(DEADLINE_S)
    assert received == [b"%d" % number for number in range(2000)]


def test_publishing_without_a_receiver_gives_up_after_the_time_asked_for():
    with (
        opened(ZMQPublisher(port=0, send_timeout_s=0.05)) as publisher,
        pytest.raises(UnavailableError, match="no receiver at tcp:"),
    ):
        publisher.publish(Event())


def deaf(foreign, kind, address):
    """A reader that takes nothing: its own queue holds a single message."""
    made = foreign(kind)
    made.rcvhwm = 1
    made.connect(address)
    return made


FRAME = bytes(8 * MIB)
MOST = PEER_BYTES // len(FRAME) + 4
"""Frames for one peer: those that wait here, and a few in the kernel and at the reader."""


def publish_until_full(publisher, first=(), most=2 * MOST):
    """Publish frames until there is no room; return how many there was room for."""
    for event in first:
        publisher.publish(event)
    for count in range(most):
        try:
            publisher.publish(Event({}, FRAME))
        except UnavailableError:
            return count
    return most


def test_images_for_a_receiver_that_does_not_read_are_bounded_by_bytes(foreign):
    with opened(ZMQPublisher(port=0, send_timeout_s=0.3, linger_s=0.0)) as publisher:
        deaf(foreign, zmq.PULL, publisher.address)
        publisher.publish(Start({}))
        assert FIRST_MESSAGES <= publish_until_full(publisher) <= MOST


def test_a_receiver_that_does_not_read_leaves_room_for_others(foreign):
    with opened(ZMQPublisher(port=0, linger_s=0.0)) as publisher:
        deaf(foreign, zmq.PULL, publisher.address)
        received = []

        def receive():
            pull = foreign(zmq.PULL, connect=publisher.address)
            received.extend(len(pull.recv_multipart()[2]) for _ in range(3 * MOST))

        thread = threading.Thread(target=receive)
        thread.start()
        while thread.is_alive():
            publisher.publish(Event({}, FRAME))
        thread.join()
    assert received == [len(FRAME)] * 3 * MOST


def test_images_behind_small_messages_are_bounded_by_bytes_too(foreign, monkeypatch):
    monkeypatch.setattr(_zeromq_queue, "TOTAL_BYTES", 4 * len(FRAME))
    with opened(ZMQPublisher(port=0, send_timeout_s=0.3, linger_s=0.0)) as publisher:
        deaf(foreign, zmq.PULL, publisher.address)
        assert publish_until_full(publisher, first=[Event({}, b"small")] * 20) <= 8


def test_many_small_messages_wait_for_a_receiver_as_before(foreign):
    with opened(ZMQPublisher(port=0, send_timeout_s=0.3)) as publisher:
        pull = deaf(foreign, zmq.PULL, publisher.address)
        for number in range(1000):
            publisher.publish(Event({}, b"%d" % number))
        assert [int(pull.recv_multipart()[2]) for _ in range(1000)] == list(range(1000))


def test_images_for_a_subscriber_that_does_not_read_are_bounded_by_bytes(foreign):
    with opened(ZMQPubSubPublisher(port=0, linger_s=0.0)) as publisher:
        subscriber = deaf(foreign, zmq.SUB, publisher.address)
        publish_until_heard(publisher, subscriber)
        while subscriber.poll(100):
            subscriber.recv_multipart()
        publish_until_full(publisher)
        received = 0
        while subscriber.poll(500):
            received += len(subscriber.recv_multipart()[2]) == len(FRAME)
    assert received <= MOST


def test_what_waits_for_all_subscribers_is_bounded_and_what_is_dropped_counted(
    foreign, monkeypatch, caplog
):
    monkeypatch.setattr(_zeromq_queue, "TOTAL_BYTES", 4 * len(FRAME))
    with opened(ZMQPubSubPublisher(port=0, linger_s=0.0)) as publisher:
        subscriber = deaf(foreign, zmq.SUB, publisher.address)
        publish_until_heard(publisher, subscriber)
        publish_until_full(publisher, first=[Event({}, b"small")] * 20)
        assert publisher.dropped >= 2 * MOST - 8
    (warning,) = caplog.records
    assert "dropped for all subscribers" in warning.message


@pytest.mark.logs_errors("this stage was asked to stop, and the message stays with its source")
def test_a_stop_is_not_held_up_by_a_receiver_that_does_not_read(foreign, make_chain):
    pull = foreign(zmq.PULL)
    pull.rcvhwm = 1
    pull.bind("tcp://127.0.0.1:*")
    host, port = endpoint(pull).removeprefix("tcp://").split(":")
    chain = make_chain(
        listener("count", events=200, size_bytes=MIB),
        '[stages.out]\npublisher = "arroyo.connectors:ZMQPublisher"\ninputs = ["count"]\n'
        f'options = {{ host = "{host}", port = {port}, bind = false, linger_s = 0.1 }}\n',
    )
    count, out = chain.stage("count"), chain.stage("out")
    page = chain.run_directory.status_page(ReplicaName("out", 0))
    wait_until(lambda: (read_status_page(page) or {"waits": 0})["waits"], chain.text)
    out.send(signal.SIGTERM)
    assert out.wait(10) == 75, chain.text()
    assert "was asked to stop" in chain.text()
    out = chain.stage("out")
    while b'"Stop"' not in pull.recv_multipart()[1]:
        pass
    assert (count.wait(), out.wait()) == (0, 0), chain.text()


def test_what_was_published_still_leaves_when_the_publisher_closes(foreign):
    publisher = ZMQPublisher(port=0)
    with opened(publisher):
        pull = foreign(zmq.PULL, connect=publisher.address)
        for _ in range(50):
            publisher.publish(Event({}, bytes(100_000)))
    assert [len(pull.recv_multipart()[2]) for _ in range(50)] == [100_000] * 50


def test_closing_does_not_wait_for_ever_for_a_receiver_that_is_gone(foreign):
    pull = foreign(zmq.PULL, bind="tcp://127.0.0.1:*")
    publisher = ZMQPublisher(endpoint(pull), bind=False, linger_s=0.1)
    pull.close()
    with opened(publisher):
        publisher.publish(Event())
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 2.0


def test_every_subscriber_gets_a_copy_under_the_topic(foreign):
    with opened(ZMQPubSubPublisher(port=0, topic="det")) as publisher:
        subscribers = [foreign(zmq.SUB, connect=publisher.address) for _ in range(2)]
        for subscriber in subscribers:
            publish_until_heard(publisher, subscriber)
        publisher.publish(Stop({"last": True}))
        for subscriber in subscribers:
            while (frames := subscriber.recv_multipart())[1] == b'{"type":"Start","data":{}}':
                pass
            assert frames == [b"det", b'{"type":"Stop","data":{"last":true}}', b""]


def publish_until_heard(publisher, subscriber):
    def heard():
        publisher.publish(Start())
        return subscriber.poll(10)

    wait_until(heard)


def test_a_slow_subscriber_never_holds_the_publisher_up(foreign):
    with opened(ZMQPubSubPublisher(port=0, high_water_mark=5, linger_s=0.0)) as publisher:
        subscriber = foreign(zmq.SUB, connect=publisher.address)
        publish_until_heard(publisher, subscriber)
        started_s = time.monotonic()
        for _ in range(500):
            publisher.publish(Event({}, bytes(100_000)))
        assert time.monotonic() - started_s < DEADLINE_S


def test_our_listener_reads_what_our_publisher_sends_over_ipc(tmp_path):
    address = f"ipc://{tmp_path}/socket"
    recorder = Recorder()
    sent = [Start({"a": 1}), Event.from_array(np.arange(4.0)), Stop()]
    with opened(ZMQPublisher(address)) as publisher, running(ZMQListener(recorder, address)):
        for message in sent:
            publisher.publish(message)
        assert recorder.wait_for(3) == sent


# Addresses


def test_a_port_in_use_is_named_when_the_stage_opens():
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        publisher = ZMQPublisher(port=port)
        with pytest.raises(
            ConfigurationError, match=f"tcp://127.0.0.1:{port} can't be bound: another program"
        ):
            publisher.open()
        publisher.close()


def test_a_path_in_use_is_not_taken_away_from_its_holder(tmp_path, foreign):
    address = f"ipc://{tmp_path}/socket"
    with opened(ZMQPublisher(address)) as first:
        with pytest.raises(ConfigurationError, match="another program has it"):
            ZMQPublisher(address).open()
        pull = foreign(zmq.PULL, connect=address)
        first.publish(Event())
        assert len(pull.recv_multipart()) == 3


def test_a_path_that_a_killed_program_left_is_used_again(tmp_path):
    path = tmp_path / "socket"
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    with opened(ZMQPublisher(f"ipc://{path}")):
        assert path.exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"address": "tcp://203.0.113.9:5555"}, "no such network"),
        ({"address": "tcp://localhost.invalid:5555"}, "no such network"),
        ({"address": "ipc:///no/such/folder/socket"}, "the folder does not exist"),
        ({"address": "ipc:///" + "x" * 200}, "the path is too long"),
    ],
)
def test_an_address_that_cannot_be_bound_says_why(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        ZMQPublisher(**options).open()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "ZMQPublisher needs either address"),
        ({"address": "tcp://127.0.0.1:5555", "port": 5555}, "needs either"),
        ({"address": "tcp://127.0.0.1:5555", "host": "127.0.0.1"}, "needs either"),
        ({"host": "127.0.0.1"}, "needs either"),
        ({"address": "127.0.0.1:5555"}, "no address; write tcp://host:port"),
        ({"address": "http://127.0.0.1:5555"}, "no address"),
        ({"address": "tcp://127.0.0.1"}, "no address"),
        ({"port": 70_000}, "port 70000 .* is beyond 65535"),
        ({"port": -1}, "no address"),
        ({"port": 0, "bind": False}, "must name a host and a port"),
        ({"host": "*", "port": 5555, "bind": False}, "must name a host and a port"),
    ],
)
def test_options_that_make_no_address_are_refused_at_once(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        ZMQPublisher(**options)


def test_an_ipv6_host_is_put_in_brackets():
    assert ZMQPublisher(host="::1", port=5555).address == "tcp://[::1]:5555"


def test_topics_given_as_one_text_are_refused():
    with pytest.raises(ConfigurationError, match="topics = 'det' should be a list"):
        ZMQPubSubListener(Recorder(), port=5555, topics="det")


# The package


def test_importing_the_connectors_loads_no_library_of_theirs():
    program = (
        "import sys, arroyo.connectors as c;"
        "print([m for m in ('zmq', 'redis', 'h5py', 'numpy') if m in sys.modules]);"
        "c.ZMQListener; print('zmq' in sys.modules, 'redis' in sys.modules, hasattr(c, 'Nothing'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["[]", "True False False"]
