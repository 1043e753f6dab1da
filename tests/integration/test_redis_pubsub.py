"""The Redis connectors against a real server and plain redis-py programs."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import contextmanager

import msgspec
import numpy as np
import pytest
import redis
from chains import wait_until
from outside import (
    DEADLINE_S,
    Recorder,
    array_event,
    assert_is_array_event,
    opened,
    running,
)

from arroyo.connectors.redis.pubsub import RedisListener, RedisPublisher
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.messages import Event, Start, Stop

pytest_plugins = ["redis_server"]

HEADER = b'{"type": "Event", "metadata": {"n": 1}}'


@pytest.fixture
def foreign(redis_server):
    with redis.Redis(port=redis_server.port) as client:
        yield client


@contextmanager
def stuttering_proxy(port):
    """A way to the server that falls silent for 0.3 s in the middle of each large answer."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def forward(source, sink):
            while chunk := source.recv(1 << 16):
                half = len(chunk) // 2 if len(chunk) > 1000 else 0
                sink.sendall(chunk[:half])
                if half:
                    time.sleep(0.3)  # longer than one `poll()` of the listener waits
                sink.sendall(chunk[half:])
            sink.shutdown(socket.SHUT_WR)

        def serve():
            client, _ = door.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                up = threading.Thread(target=forward, args=(client, server))
                up.start()
                forward(server, client)
                up.join()

        thread = threading.Thread(target=serve)
        thread.start()
        yield door.getsockname()[1]
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_a_plain_program_feeds_a_chain(redis_server, foreign):
    recorder = Recorder()
    with running(RedisListener(recorder, ["det", "motor"], port=redis_server.port)):
        foreign.publish("det", b'{"type": "Start", "data": {"sample": "AgBeh"}}')
        foreign.publish("motor", msgspec.msgpack.encode([HEADER, b"abc"]))
        foreign.publish("other", msgspec.msgpack.encode([HEADER, b"not subscribed"]))
        foreign.publish("det", b'{"type": "Stop"}')
        messages = recorder.wait_for(3)
    assert messages == [Start({"sample": "AgBeh"}), Event({"n": 1}, b"abc"), Stop()]


def test_what_is_published_once_the_listener_is_open_is_not_missed(redis_server, foreign):
    recorder = Recorder()
    listener = RedisListener(recorder, ["det"], port=redis_server.port, parser="raw")
    listener.open()
    try:
        assert foreign.publish("det", b"abc") == 1
        thread = threading.Thread(target=listener.start)
        thread.start()
        assert recorder.wait_for(1) == [Event({"topic": "det"}, b"abc")]
        listener.stop()
        thread.join(DEADLINE_S)
    finally:
        listener.close()


def test_a_plain_program_reads_what_a_chain_publishes(redis_server, foreign):
    with foreign.pubsub() as subscription:
        subscription.subscribe("det")
        assert subscription.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
        with opened(RedisPublisher("det", port=redis_server.port)) as publisher:
            publisher.publish(array_event())
        body = subscription.get_message(timeout=DEADLINE_S)["data"]
    header, payload = msgspec.msgpack.decode(body)
    assert_is_array_event(header, payload)


def test_our_listener_reads_what_our_publisher_sends(redis_server):
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    recorder = Recorder()
    sent = [Start({"a": 1}), Event({}, bytes(8 << 20)), Event.from_array(np.eye(3)), Stop()]
    with (
        running(RedisListener(recorder, ["det"], url=url)),
        opened(RedisPublisher("det", url=url)) as publisher,
    ):
        for message in sent:
            publisher.publish(message)
        assert recorder.wait_for(4) == sent


def test_broken_messages_are_counted_and_the_listener_goes_on(redis_server, foreign):
    recorder = Recorder()
    with running(RedisListener(recorder, ["det"], port=redis_server.port)) as listener:
        foreign.publish("det", b"\x80\x04pickle")
        foreign.publish("det", b"")
        foreign.publish("det", msgspec.msgpack.encode([HEADER, b""]))
        assert recorder.wait_for(1) == [Event({"n": 1})]
        assert listener.rejected == 2


def test_a_pause_within_a_message_is_no_lost_connection(redis_server, foreign):
    recorder = Recorder()
    with stuttering_proxy(redis_server.port) as port:
        listener = RedisListener(recorder, ["det"], port=port, parser="raw")
        with running(listener):
            foreign.publish("det", b"x" * 5000)
            assert recorder.wait_for(1) == [Event({"topic": "det"}, b"x" * 5000)]
            assert listener.reconnects == 0


def test_a_listener_outlives_the_server(redis_server):
    recorder = Recorder()
    with running(RedisListener(recorder, ["det"], port=redis_server.port)) as listener:
        redis_server.stop()
        wait_until(lambda: listener.reconnects == 1)
        redis_server.start()
        with redis.Redis(port=redis_server.port) as client:
            body = msgspec.msgpack.encode([HEADER, b""])
            wait_until(lambda: client.publish("det", body) == 1)
        assert recorder.wait_for(1)[0] == Event({"n": 1})
        assert listener.reconnects == 1


def test_a_listener_that_the_server_cuts_off_subscribes_again(redis_server, foreign):
    recorder = Recorder()
    with running(RedisListener(recorder, ["det"], port=redis_server.port)) as listener:
        foreign.client_kill_filter(_type="pubsub")
        wait_until(lambda: listener.reconnects == 1)
        wait_until(lambda: foreign.publish("det", HEADER) == 1)
        assert recorder.wait_for(1)[0] == Event({"n": 1})


def test_a_listener_without_its_server_stops_soon(redis_server):
    with running(RedisListener(Recorder(), ["det"], port=redis_server.port)) as listener:
        redis_server.stop()
        wait_until(lambda: listener.reconnects == 1)
        started_s = time.monotonic()
        listener.stop()
    assert time.monotonic() - started_s < 2.0


def test_a_publisher_tries_again_until_the_server_is_back(redis_server):
    with opened(RedisPublisher("det", port=redis_server.port)) as publisher:
        redis_server.stop()
        back = threading.Timer(0.3, redis_server.start)
        back.start()
        try:
            publisher.publish(Event())
        finally:
            back.join()


def test_a_publisher_gives_up_after_the_time_asked_for(redis_server):
    with opened(RedisPublisher("det", port=redis_server.port, retry_for_s=0.2)) as publisher:
        redis_server.stop()
        with pytest.raises(UnavailableError, match=f"redis://127.0.0.1:{redis_server.port}/0"):
            publisher.publish(Event())


def test_a_publisher_that_is_asked_to_stop_waits_no_longer(redis_server):
    with opened(RedisPublisher("det", port=redis_server.port, retry_for_s=3600)) as publisher:
        publisher._on_waiting = lambda _: True  # as its process does after SIGTERM
        redis_server.stop()
        with pytest.raises(UnavailableError, match="can't be reached"):
            publisher.publish(Event())


@pytest.mark.parametrize("make", [RedisPublisher, lambda c, **o: RedisListener(None, [c], **o)])
def test_a_missing_server_is_named_and_may_be_tried_again(redis_server, make):
    redis_server.stop()
    stage = make("det", port=redis_server.port)
    with pytest.raises(UnavailableError, match="can't be reached") as caught:
        stage.open()
    assert str(redis_server.port) in str(caught.value)
    assert caught.value.exit_code == 75
    stage.close()


def test_the_password_comes_from_the_environment_and_is_told_to_nobody(
    locked_redis_server, monkeypatch, caplog
):
    monkeypatch.setenv("DETECTOR_PASSWORD", "sesame")
    where = {"port": locked_redis_server.port, "password_env": "DETECTOR_PASSWORD"}
    recorder = Recorder()
    with (
        caplog.at_level(logging.DEBUG),
        running(RedisListener(recorder, ["det"], **where)) as listener,
        opened(RedisPublisher("det", **where)) as publisher,
    ):
        publisher.publish(Start())
        assert recorder.wait_for(1) == [Start()]
        assert "sesame" not in listener.address + publisher.address + caplog.text


@pytest.mark.parametrize("password", [None, "tell-nobody"])
def test_a_wrong_or_missing_password_is_a_configuration_error(
    locked_redis_server, monkeypatch, password
):
    options = {}
    if password:
        monkeypatch.setenv("DETECTOR_PASSWORD", password)
        options["password_env"] = "DETECTOR_PASSWORD"
    publisher = RedisPublisher("det", port=locked_redis_server.port, **options)
    with pytest.raises(ConfigurationError, match="refuses the password") as caught:
        publisher.open()
    assert "tell-nobody" not in str(caught.value)


def test_a_database_that_the_server_lacks_is_a_configuration_error(redis_server):
    with pytest.raises(ConfigurationError, match="refuses: "):
        RedisPublisher("det", port=redis_server.port, db=99).open()
