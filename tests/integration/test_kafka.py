"""The Kafka connectors against a real server and plain confluent-kafka programs."""

from __future__ import annotations

import ctypes
import json
import logging
import re
import subprocess
import sys
import threading
import time
from importlib.resources import files
from pathlib import Path

import confluent_kafka
import numpy as np
import pytest
from certificates import certificates
from chains import wait_until
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka_server import SESSION_S, durable_kafka_server, kafka_server
from outside import (
    DEADLINE_S,
    Recorder,
    array_event,
    assert_is_array_event,
    free_port,
    opened,
    running,
)
from proxies import tls_door

from arroyo.connectors import KafkaListener, KafkaPublisher
from arroyo.connectors.kafka import client as kafka_client
from arroyo.connectors.kafka import publisher as kafka_publisher
from arroyo.errors import ConfigurationError, RefusedError, UnavailableError
from arroyo.messages import Event, Start, Stop

__all__ = ["certificates", "durable_kafka_server", "kafka_server"]

HEADER = b'{"type": "Event", "metadata": {"n": %d}}'


@pytest.fixture
def page():
    """The connectors' page."""
    return files("arroyo.connectors").joinpath("README.md").read_text("utf-8")


def listening(server, recorder, topics=("det",), group="ours", **options):
    options = {"session_timeout_s": SESSION_S, **options}
    return KafkaListener(recorder, list(topics), group, server.address, **options)


def produce(server, topic, *values, headers=(), **options):
    """Send as another program does; returns when the server has all."""
    producer = Producer({"bootstrap.servers": server.address})
    for value in values:
        producer.produce(topic, value, headers=list(headers), **options)
    assert producer.flush(DEADLINE_S) == 0


def produce_numbered(server, topic, first, end, **options):
    producer = Producer({"bootstrap.servers": server.address})
    for number in range(first, end):
        producer.produce(topic, b"abc", headers=[("header", HEADER % number)], **options)
    assert producer.flush(DEADLINE_S) == 0


def consume(server, topic, count):
    """Read as another program does, from the beginning."""
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": "others"})
    partitions = consumer.list_topics(topic, timeout=DEADLINE_S).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    records = []
    wait_until(lambda: records.extend(consumer.consume(1000, 0.05)) or len(records) >= count)
    consumer.close()
    assert [record.error() for record in records] == [None] * count
    return records


def committed(server, topic, group="ours", partition=0):
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": group})
    try:
        (found,) = consumer.committed([TopicPartition(topic, partition)], timeout=DEADLINE_S)
    finally:
        consumer.close()
    return found.offset


def numbers(recorder):
    return [event.metadata["n"] for event in recorder.events]


def wait_for(recorder, count):
    """Longer than the recorder itself waits: a group takes its time."""
    wait_until(lambda: len(recorder.messages) >= count, lambda: f"{recorder.messages}")
    return list(recorder.messages)


def test_a_plain_program_feeds_a_chain(kafka_server):
    kafka_server.make_topic("det")
    kafka_server.make_topic("other")
    recorder = Recorder()
    produce(kafka_server, "det", b"", headers=[("header", b'{"type": "Start"}')])
    produce(kafka_server, "other", b"not asked for", headers=[("header", HEADER % 2)])
    produce(kafka_server, "det", b"abc", headers=[("header", HEADER % 1)])
    produce(kafka_server, "det", b'{"type": "Stop"}')
    with running(listening(kafka_server, recorder)):
        messages = wait_for(recorder, 3)
    assert messages == [Start(), Event({"n": 1}, b"abc"), Stop()]
    assert recorder.tokens == [("det", 0, 1)]


def test_plain_messages_of_others_come_as_they_are(kafka_server):
    kafka_server.make_topic("det")
    produce(kafka_server, "det", b"\x93abc", key=b"image-1")
    produce(kafka_server, "det", b"def")
    produce(kafka_server, "det", None, key=b"image-2")
    recorder = Recorder()
    with running(listening(kafka_server, recorder, parser="raw")):
        assert wait_for(recorder, 3) == [
            Event({"topic": "det", "key": "image-1"}, b"\x93abc"),
            Event({"topic": "det"}, b"def"),
            Event({"topic": "det", "key": "image-2"}, b""),
        ]


def produce_by_c(server, topic, value, header_name):
    """Produce by librdkafka itself, which does not mind what a header is called."""
    libraries = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    (library,) = libraries.glob("librdkafka*")
    c = ctypes.CDLL(str(library))
    size, pointer, error = ctypes.c_size_t, ctypes.c_void_p, ctypes.create_string_buffer(500)
    c.rd_kafka_conf_new.restype = c.rd_kafka_new.restype = pointer
    settings = pointer(c.rd_kafka_conf_new())
    c.rd_kafka_conf_set(settings, b"bootstrap.servers", server.address.encode(), error, size(500))
    producer = pointer(c.rd_kafka_new(0, settings, error, size(500)))
    end, of_topic, of_value, of_flags, copied, of_header = 0, 1, 4, 7, 2, 9
    where = (of_topic, topic.encode(), of_flags, copied)
    what = (of_value, value, size(len(value)), of_header, header_name, b"1", size(1), end)
    assert c.rd_kafka_producev(producer, *where, *what) == 0
    assert c.rd_kafka_flush(producer, 60_000) == 0
    c.rd_kafka_destroy(producer)


def test_messages_with_a_header_whose_name_is_no_utf_8_come_without_headers(kafka_server):
    kafka_server.make_topic("det")
    for _ in range(3):
        produce_by_c(kafka_server, "det", b"abc", b"\xff\xfe")
    produce(kafka_server, "det", b"def")
    recorder = Recorder()
    with running(listening(kafka_server, recorder, parser="raw")):
        payloads = [bytes(event.payload) for event in wait_for(recorder, 4)]
    assert payloads == [b"abc", b"abc", b"abc", b"def"]


def test_a_plain_program_reads_what_a_chain_publishes(kafka_server):
    kafka_server.make_topic("det")
    with opened(KafkaPublisher("det", kafka_server.address)) as publisher:
        publisher.publish(array_event())
        publisher.flush()
        (record,) = consume(kafka_server, "det", 1)
    ((name, header),) = record.headers()
    assert name == "header"
    assert_is_array_event(header, record.value())
    assert record.key().decode() == array_event().key


def test_our_listener_reads_what_our_publisher_sends(kafka_server):
    kafka_server.make_topic("det")
    recorder = Recorder()
    sent = [
        Start({"a": 1}),
        Event({}, bytes(900 << 10)),
        Event({}, bytes(8 << 20)),
        Event.from_array(np.eye(3)),
        Stop(),
    ]
    with (
        running(listening(kafka_server, recorder)),
        opened(KafkaPublisher("det", kafka_server.address)) as publisher,
    ):
        for message in sent:
            publisher.publish(message)
        publisher.flush()
        assert wait_for(recorder, 5) == sent


def test_messages_with_the_same_key_keep_to_one_partition(kafka_server):
    kafka_server.make_topic("det", partitions=8)
    publisher = KafkaPublisher("det", kafka_server.address, key="module")
    with opened(publisher):
        publisher.publish(Start({"module": 3}))
        for index in range(32):
            publisher.publish(Event({"module": index % 4, "index": index}))
        publisher.publish(Event({}))
        publisher.flush()
    places = {}
    for record in consume(kafka_server, "det", 34):
        places.setdefault(record.key(), []).append(record.partition())
    assert set(places) == {b"0", b"1", b"2", b"3", None}
    assert all(len(set(found)) == 1 for found in places.values())
    assert len(places[b"3"]) == 9  # the Start among them


def test_what_is_finished_is_committed_and_what_is_not_comes_again(kafka_server):
    kafka_server.make_topic("det")
    produce_numbered(kafka_server, "det", 0, 10)
    first, second = Recorder(), Recorder()
    with running(listening(kafka_server, first)) as listener:
        wait_for(first, 10)
        listener.acknowledge_batch(first.tokens[:2])
        listener.acknowledge_batch(first.tokens[2:4])
        wait_until(lambda: committed(kafka_server, "det") == 4)
    with running(listening(kafka_server, second)):
        wait_for(second, 6)
    assert numbers(second) == [4, 5, 6, 7, 8, 9]


def test_broken_messages_are_counted_and_not_read_again(kafka_server):
    kafka_server.make_topic("det")
    produce(kafka_server, "det", b"\x80\x04pickle", b"")
    produce_numbered(kafka_server, "det", 0, 1)
    produce(kafka_server, "det", b"{", headers=[("header", b"[]")])
    recorder = Recorder()
    with running(listening(kafka_server, recorder)) as listener:
        wait_for(recorder, 1)
        wait_until(lambda: listener.rejected == 3)
        listener.acknowledge_batch(recorder.tokens)
    assert committed(kafka_server, "det") == 4


def test_two_listeners_share_the_partitions_and_nothing_comes_twice(kafka_server):
    kafka_server.make_topic("det", partitions=4)
    produced = 0
    enough, stopped = threading.Event(), threading.Event()

    def feed():
        nonlocal produced
        producer = Producer({"bootstrap.servers": kafka_server.address})
        while not enough.wait(0.002):
            header = [("header", HEADER % produced)]
            producer.produce("det", b"abc", headers=header, partition=produced % 4)
            producer.poll(0)
            produced += 1
        assert producer.flush(DEADLINE_S) == 0

    recorders = [Recorder(), Recorder()]
    listeners = [listening(kafka_server, recorder) for recorder in recorders]

    def acknowledge():
        done = [0, 0]
        while not stopped.wait(0.01):
            for index, listener in enumerate(listeners):
                tokens = recorders[index].tokens[done[index] :]
                if tokens:
                    listener.acknowledge_batch(tokens)
                    done[index] += len(tokens)

    feeding, acknowledging = threading.Thread(target=feed), threading.Thread(target=acknowledge)
    with running(listeners[0]):
        feeding.start()
        acknowledging.start()
        try:
            wait_for(recorders[0], 10)
            with running(listeners[1]):
                wait_for(recorders[1], 100)
                enough.set()
                feeding.join(DEADLINE_S)
                wait_until(lambda: sum(len(each.events) for each in recorders) >= produced)
        finally:
            enough.set()
            stopped.set()
            feeding.join(DEADLINE_S)
            acknowledging.join(DEADLINE_S)
    assert sorted(numbers(recorders[0]) + numbers(recorders[1])) == list(range(produced))


def test_a_slow_chain_is_waited_for(kafka_server):
    kafka_server.make_topic("det")
    produce_numbered(kafka_server, "det", 0, 1000)
    gate = threading.Event()
    recorder = Recorder(at_event=lambda event: gate.wait(DEADLINE_S))
    with running(listening(kafka_server, recorder)):
        wait_until(lambda: recorder.messages)
        assert len(recorder.messages) == 1
        gate.set()
        wait_for(recorder, 1000)
    assert numbers(recorder) == list(range(1000))


def test_a_listener_outlives_its_server(durable_kafka_server):
    server = durable_kafka_server
    server.make_topic("det")
    produce_numbered(server, "det", 0, 5)
    recorder = Recorder()
    with running(listening(server, recorder)):
        wait_for(recorder, 5)
        server.kill()
        server.start()
        produce_numbered(server, "det", 5, 10)
        wait_for(recorder, 10)
    assert numbers(recorder) == list(range(10))


def test_a_listener_that_its_group_has_forgotten_goes_on_behind_what_it_has_in_hand(
    durable_kafka_server, caplog
):
    server = durable_kafka_server
    server.make_topic("det")
    produce_numbered(server, "det", 0, 10)
    recorder = Recorder()
    with running(listening(server, recorder)) as listener:
        wait_for(recorder, 10)
        listener.acknowledge_batch(recorder.tokens[:4])
        wait_until(lambda: committed(server, "det") == 4)
        server.kill()
        wait_until(lambda: "the group has taken det[0] away" in caplog.text)
        listener.acknowledge_batch(recorder.tokens[4:6])
        server.start()
        produce_numbered(server, "det", 10, 15)
        wait_for(recorder, 15)
        wait_until(lambda: committed(server, "det") == 6)
        listener.acknowledge_batch(recorder.tokens[6:])
        wait_until(lambda: committed(server, "det") == 15)
    assert numbers(recorder) == list(range(15))


def test_servers_whose_disk_is_full_are_named_and_nothing_is_lost(
    durable_kafka_server, monkeypatch
):
    server = durable_kafka_server
    server.make_topic("det")
    produce_numbered(server, "det", 0, 5)
    recorder = Recorder()
    monkeypatch.setattr(kafka_publisher, "STUCK_S", 1.0)
    with running(listening(server, recorder)) as listener:
        wait_for(recorder, 5)
        listener.acknowledge_batch(recorder.tokens[:4])
        wait_until(lambda: committed(server, "det") == 4)
        with opened(KafkaPublisher("det", server.address)) as publisher:
            publish_numbered(publisher, 5)
            wait_for(recorder, 6)
            server.fill()
            with pytest.raises(UnavailableError, match="takes nothing now"):
                publish_numbered(publisher, 6)
        with (
            opened(KafkaPublisher("det", server.address)) as publisher,
            pytest.raises(UnavailableError, match=r"takes nothing now \(nothing was conf"),
        ):
            publish_numbered(publisher, 6)
        listener.acknowledge_batch(recorder.tokens)
        server.make_room()
        wait_until(lambda: committed(server, "det") == 6)
        with opened(KafkaPublisher("det", server.address)) as publisher:
            publish_numbered(publisher, 6)
        wait_for(recorder, 7)
    assert numbers(recorder) == list(range(7))


def publish_numbered(publisher, number):
    publisher.publish(Event({"n": number}))
    publisher.flush()


def test_a_publisher_outlives_its_server_and_nothing_is_lost_or_doubled(durable_kafka_server):
    server = durable_kafka_server
    server.make_topic("det")
    with opened(KafkaPublisher("det", server.address)) as publisher:
        for index in range(100):
            publisher.publish(Event({"n": index}))
        publisher.flush()
        server.kill()
        for index in range(100, 200):
            publisher.publish(Event({"n": index}))
        server.start()
        publisher.flush()
        assert publisher.replaced == 0
    found = [record.headers()[0][1] for record in consume(server, "det", 200)]
    assert found == [b'{"type":"Event","metadata":{"n":%d}}' % index for index in range(200)]


def test_a_producer_that_the_server_does_not_know_any_more_is_replaced(kafka_server, caplog):
    kafka_server.make_topic("det")
    with opened(KafkaPublisher("det", kafka_server.address)) as publisher:
        publisher.publish(Event({"n": 0}))
        publisher.flush()
        kafka_server.pause()
        publisher.publish(Event({"n": 1}, memoryview(bytearray(b"abc"))))
        assert publisher._producer.flush(0.5) == 1  # it is on its way
        kafka_server.kill()  # now the server forgets everything
        kafka_server.start()
        kafka_server.make_topic("det")
        publisher.flush()
        assert publisher.replaced == 1
        publisher.publish(Event({"n": 2}))
        publisher.flush()
    first, second = consume(kafka_server, "det", 2)
    assert first.headers()[0][1] == b'{"type":"Event","metadata":{"n":1}}'
    assert first.value() == b"abc"
    assert second.headers()[0][1] == b'{"type":"Event","metadata":{"n":2}}'
    assert "may be in the topic twice" in caplog.text


def test_a_message_that_is_too_large_is_refused_alone(kafka_server):
    kafka_server.make_topic("det")
    publisher = KafkaPublisher("det", kafka_server.address)
    publisher._settings["message.max.bytes"] = 2000
    with opened(publisher):
        for index, size in enumerate((10, 5000, 20)):
            publisher.publish(Event({"n": index}, bytes(size)))
        with pytest.raises(RefusedError, match="takes no message with 5000 bytes") as caught:
            publisher.flush()
        publisher.flush()  # it is told once
    ((message, _),) = caught.value.refused
    assert message == Event({"n": 1}, bytes(5000))
    assert [len(record.value()) for record in consume(kafka_server, "det", 2)] == [10, 20]


def test_batches_are_no_larger_than_what_the_topic_takes_at_once(kafka_server):
    # Kafka refuses a larger one as a whole; this server does not, and is no judge of it.
    kafka_server.make_topic("det", **{"max.message.bytes": "20000"})
    publisher = KafkaPublisher("det", kafka_server.address)
    told = []
    publisher._settings |= {"statistics.interval.ms": 50, "stats_cb": told.append}

    def largest():
        publisher._producer.poll(0.05)
        topics = [json.loads(text)["topics"].get("det") for text in told]
        return max((topic["batchsize"]["max"] for topic in topics if topic), default=0)

    with opened(publisher):
        publisher.publish_batch([Event({"n": n}, bytes(1000)) for n in range(500)])
        publisher.flush()
        wait_until(lambda: largest() > 10_000)
        assert largest() <= 20_000


def test_a_publisher_that_is_asked_to_stop_waits_no_longer(kafka_server):
    kafka_server.make_topic("det")
    publisher = KafkaPublisher("det", kafka_server.address)
    publisher.open()
    publisher._on_waiting = lambda _: True  # as its process does after SIGTERM
    kafka_server.kill()
    publisher.publish(Event())
    with pytest.raises(UnavailableError, match=rf"{kafka_server.address} can't be reached"):
        publisher.flush()
    began_s = time.monotonic()
    publisher.close()
    assert time.monotonic() - began_s < 1.0


def test_a_listener_without_its_server_stops_soon(kafka_server, caplog):
    kafka_server.make_topic("det")
    recorder = Recorder()
    produce_numbered(kafka_server, "det", 0, 1)
    with running(listening(kafka_server, recorder)):
        wait_for(recorder, 1)
        kafka_server.kill()
        wait_until(lambda: "trying again until it works" in caplog.text)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 2.0


def test_a_stop_waits_until_the_group_has_formed(kafka_server, page):
    kafka_server.make_topic("det")
    held_s = 3.0  # by Tansu, for a session of twice as long; by Kafka's servers, by default
    with running(listening(kafka_server, Recorder(), session_timeout_s=2 * held_s)):
        began_s = time.monotonic()
    assert held_s / 2 < time.monotonic() - began_s < 2 * held_s
    assert "a stop in the first seconds waits for that" in page


def made(kind, address, **options):
    if kind is KafkaPublisher:
        return KafkaPublisher("det", address, **options)
    return KafkaListener(Recorder(), ["det"], "ours", address, **options)


KINDS = pytest.mark.parametrize("kind", [KafkaPublisher, KafkaListener])


@KINDS
def test_servers_that_are_away_are_named_and_may_be_tried_again(kind, monkeypatch):
    monkeypatch.setattr(kafka_client, "ANSWER_TIMEOUT_S", 0.5)
    stage = made(kind, f"127.0.0.1:{free_port()}")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:\d+ can't be reached"):
        stage.open()
    stage.close()


@KINDS
def test_a_topic_that_is_not_there_is_named(kafka_server, kind):
    kafka_server.make_topic("other")
    stage = made(kind, kafka_server.address)
    with pytest.raises(UnavailableError, match="have no topic 'det'; make it there"):
        stage.open()
    stage.close()


@KINDS
def test_a_wrong_password_is_a_configuration_error_and_told_to_nobody(
    kafka_server, monkeypatch, caplog, kind
):
    kafka_server.kill()
    kafka_server.start("--authentication")
    monkeypatch.setenv("KAFKA_PASSWORD", "tell-nobody")
    security = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ann",
    }
    stage = made(kind, kafka_server.address, security=security, password_env="KAFKA_PASSWORD")
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ConfigurationError, match="refuse the user or the password") as caught,
    ):
        stage.open()
    stage.close()
    assert "tell-nobody" not in caplog.text + str(caught.value)


@pytest.fixture
def tls_server(kafka_server, certificates):
    """A server behind TLS, and the settings of a client that trusts it."""
    kafka_server.kill()
    with tls_door(certificates) as (port, open_to):
        kafka_server.address = f"localhost:{port}"
        kafka_server.start()
        open_to(kafka_server.port)
        security = {"security.protocol": "SSL", "ssl.ca.location": str(certificates.authority)}
        settings = {"bootstrap.servers": kafka_server.address, "log_level": 0, **security}
        client = AdminClient(settings)
        client.create_topics([NewTopic("det", 1, 1)])["det"].result(DEADLINE_S)
        yield kafka_server, security


def test_messages_go_both_ways_by_tls(tls_server):
    server, security = tls_server
    recorder = Recorder()
    sent = [Event({"n": index}, bytes(100_000)) for index in range(10)]
    with (
        running(listening(server, recorder, security=security)),
        opened(KafkaPublisher("det", server.address, security=security)) as publisher,
    ):
        for message in sent:
            publisher.publish(message)
        publisher.flush()
        assert wait_for(recorder, 10) == sent


@KINDS
def test_a_certificate_that_is_not_trusted_is_a_configuration_error(tls_server, kind):
    server, _ = tls_server
    stage = made(kind, server.address, security={"security.protocol": "SSL"})
    with pytest.raises(ConfigurationError, match=r"TLS with the Kafka servers .* fails .*verif"):
        stage.open()
    stage.close()


@KINDS
def test_a_certificate_of_another_name_is_a_configuration_error(tls_server, kind):
    server, security = tls_server
    stage = made(kind, server.address.replace("localhost", "127.0.0.1"), security=security)
    with pytest.raises(ConfigurationError, match=r"TLS with the Kafka servers .* fails .*verif"):
        stage.open()
    stage.close()


@KINDS
@pytest.mark.parametrize("speaks_tls", [True, False])
def test_where_one_side_alone_speaks_tls_the_settings_are_named(
    tls_server, kind, speaks_tls, monkeypatch
):
    monkeypatch.setattr(kafka_client, "ANSWER_TIMEOUT_S", 0.5)
    server, security = tls_server
    address = server.address if speaks_tls else f"127.0.0.1:{server.port}"
    stage = made(kind, address, security=None if speaks_tls else security)
    with pytest.raises(UnavailableError, match=r"can't be reached .*or mend servers or security"):
        stage.open()
    stage.close()


@KINDS
def test_a_variable_that_is_not_set_is_a_configuration_error(monkeypatch, kind):
    monkeypatch.delenv("KAFKA_PASSWORD", raising=False)
    with pytest.raises(ConfigurationError, match="KAFKA_PASSWORD, which is not set"):
        made(kind, "host:9092", password_env="KAFKA_PASSWORD").open()


@KINDS
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"address": "host"}, "servers has 'host'; expected \"host:port\""),
        ({"address": "host:0"}, "servers has 'host:0'"),
        ({"address": []}, "servers is empty"),
        ({"security": {"group.id": "x"}}, "security.'group.id' is none of Kafka's settings"),
        (
            {"security": {"sasl.password": "sesame"}, "password_env": "X"},
            "either from password_env or from security",
        ),
    ],
)
def test_options_that_can_not_be_are_refused_at_once(kind, options, complaint):
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        made(kind, **{"address": "host:9092", **options})
    assert "sesame" not in str(caught.value)


@KINDS
def test_settings_that_librdkafka_refuses_are_told_without_the_password(kind):
    security = {"security.protocol": "telepathy", "sasl.password": "sesame"}
    with pytest.raises(ConfigurationError, match=r"security\.protocol") as caught:
        made(kind, "host:9092", security=security).open()
    assert "sesame" not in str(caught.value)


def test_topics_given_as_one_text_are_refused():
    with pytest.raises(ConfigurationError, match="topics = 'det' should be a list"):
        KafkaListener(Recorder(), "det", "ours")


@pytest.fixture
def page_program(page, tmp_path):
    """Starts a program of the connectors' page by its name; each is ended after the test."""
    started = []

    def start(name, *arguments):
        program = tmp_path / name
        blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        (text,) = (block for block in blocks if block.startswith(f"# {name}\n"))
        # By default a session is 45 s long, and Tansu lets the first member wait for half of it.
        session = f'"session.timeout.ms": {SESSION_S * 1000:.0f}, "group.id"'
        program.write_text(text.replace('"group.id"', session))
        command = [sys.executable, program, *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_program_of_the_page_feeds_a_listener(kafka_server, page_program):
    kafka_server.make_topic("det")
    assert page_program("feed.py", kafka_server.address, "det").wait(DEADLINE_S) == 0
    recorder = Recorder()
    with running(listening(kafka_server, recorder)):
        start, *events, stop = wait_for(recorder, 5)
    assert (start, stop) == (Start({"sample": "AgBeh"}), Stop())
    assert [event.metadata for event in events] == [{"frame": frame} for frame in range(3)]
    assert all((event.array == event.metadata["frame"]).all() for event in events)
    assert events[0].array.shape == (4, 6)


def test_the_program_of_the_page_reads_what_is_published(kafka_server, page_program):
    kafka_server.make_topic("det")
    with opened(KafkaPublisher("det", kafka_server.address)) as publisher:
        for message in (Start(), Event.from_array(np.eye(3)), Stop()):
            publisher.publish(message)
        publisher.flush()
    watching = page_program("watch.py", kafka_server.address, "det")
    assert watching.wait(DEADLINE_S + 30) == 0
    assert watching.stdout.read() == "Start None 0\nEvent [3, 3] 72\nStop None 0\n"
