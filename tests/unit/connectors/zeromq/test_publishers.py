"""The ZeroMQ publishers against plain pyzmq programs: what goes over the wire, and when."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import zmq
from chains import wait_until
from outside import (
    DEADLINE_S,
    Recorder,
    array_event,
    assert_is_array_event,
    opened,
    running,
)
from zeromq_peers import endpoint

from arroyo.connectors import (
    ZMQListener,
    ZMQPublisher,
    ZMQPubSubPublisher,
)
from arroyo.connectors.zeromq import send_queue
from arroyo.connectors.zeromq.send_queue import FIRST_MESSAGES, PEER_BYTES
from arroyo.errors import UnavailableError
from arroyo.messages import Event, Start, Stop

pytest_plugins = ["zeromq_peers"]
pytestmark = pytest.mark.usefixtures("keeper_of_large_frames")

MIB = 1 << 20
HEADER = b'{"type": "Event", "metadata": {"n": 1}}'


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
    monkeypatch.setattr(send_queue, "TOTAL_BYTES", 4 * len(FRAME))
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
    monkeypatch.setattr(send_queue, "TOTAL_BYTES", 4 * len(FRAME))
    with opened(ZMQPubSubPublisher(port=0, linger_s=0.0)) as publisher:
        subscriber = deaf(foreign, zmq.SUB, publisher.address)
        publish_until_heard(publisher, subscriber)
        publish_until_full(publisher, first=[Event({}, b"small")] * 20)
        assert publisher.dropped >= 2 * MOST - 8
    (warning,) = caplog.records
    assert "dropped for all subscribers" in warning.message


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
