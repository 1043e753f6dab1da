"""The ZeroMQ listeners against plain pyzmq programs: what they take from the wire, and when."""

from __future__ import annotations

import json
import socket
import time

import numpy as np
import pytest
import zmq
from chains import wait_until
from outside import DEADLINE_S, Recorder, opened, running
from zeromq_peers import endpoint

from arroyo.connectors import ZMQListener, ZMQPublisher, ZMQPubSubListener, ZMQPubSubPublisher
from arroyo.messages import Event, Start, Stop

pytest_plugins = ["zeromq_peers"]
pytestmark = pytest.mark.usefixtures("keeper_of_large_frames")

HEADER = b'{"type": "Event", "metadata": {"n": 1}}'
MIB = 1 << 20


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
