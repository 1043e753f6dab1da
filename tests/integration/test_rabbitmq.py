"""The RabbitMQ connectors against a real server and plain pika programs."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import pika
import pytest
from chains import indices, listener, operator, publisher, wait_until
from outside import Recorder, array_event, assert_is_array_event, free_port, opened, running

import arroyo.connectors
from arroyo.connectors import RabbitMQListener, RabbitMQPublisher
from arroyo.errors import ConfigurationError, EncodeError, RefusedError, UnavailableError
from arroyo.messages import Event, Start, Stop

pytest_plugins = ["rabbitmq_server"]

PAGE = Path(arroyo.connectors.__file__).with_name("README.md").read_text()
HEADER = {"header": '{"type": "Event", "metadata": {"n": 1}}'}


@pytest.fixture
def foreign(rabbitmq_server):
    """A channel of a program that knows nothing of Arroyo."""
    parameters = pika.ConnectionParameters("127.0.0.1", rabbitmq_server.port)
    with pika.BlockingConnection(parameters) as connection:
        yield connection.channel()


@pytest.fixture
def queue(foreign, request):
    """Name of a queue of the test's own, which is empty."""
    name = request.node.name
    foreign.queue_declare(name, durable=True)
    yield name
    with pika.BlockingConnection(foreign.connection._impl.params) as connection:
        connection.channel().queue_delete(name)


def send(foreign, queue, body, **properties):
    foreign.basic_publish("", queue, body, pika.BasicProperties(**properties))


def count(foreign, queue):
    """How many messages are in a queue and with nobody."""
    return foreign.queue_declare(queue, passive=True).method.message_count


def test_a_plain_program_feeds_a_chain(rabbitmq_server, foreign, queue):
    recorder = Recorder()
    with running(RabbitMQListener(recorder, queue, rabbitmq_server.url)):
        send(foreign, queue, b'{"type": "Start", "data": {"sample": "AgBeh"}}')
        send(foreign, queue, b"abc", headers=HEADER, message_id="mine-1")
        send(foreign, queue, b'{"type": "Stop"}')
        messages = recorder.wait_for(3)
    assert messages == [
        Start({"sample": "AgBeh"}),
        Event({"n": 1, "message_id": "mine-1"}, b"abc"),
        Stop(),
    ]


def test_a_plain_program_reads_what_a_chain_publishes(rabbitmq_server, foreign, queue):
    with opened(RabbitMQPublisher("", queue, rabbitmq_server.url)) as publisher:
        publisher.publish(array_event())
        publisher.flush()
        _, properties, body = foreign.basic_get(queue, auto_ack=True)
    assert_is_array_event(properties.headers["header"], body)
    assert properties.message_id == "images.0/run-1/3"
    assert properties.delivery_mode == 2


def test_many_small_messages_take_few_calls_to_the_system(rabbitmq_server, queue, monkeypatch):
    calls = []
    send = socket.socket.send

    def counted(self, data):
        calls.append(threading.current_thread().name)
        return send(self, data)

    with opened(RabbitMQPublisher("", queue, rabbitmq_server.url)) as publisher:
        publisher.publish(Start())
        publisher.flush()
        monkeypatch.setattr(socket.socket, "send", counted, raising=False)
        for number in range(1000):
            publisher.publish(Event({"n": number}, bytes(100)))
        publisher.flush()
    assert 0 < calls.count("arroyo-rabbitmq") < 500


def test_our_listener_reads_what_our_publisher_sends(rabbitmq_server, queue):
    recorder = Recorder()
    sent = [Start({"a": 1}), Event({}, bytes(8 << 20)), Event.from_array(np.eye(3)), Stop()]
    with (
        running(RabbitMQListener(recorder, queue, rabbitmq_server.url)),
        opened(RabbitMQPublisher("", queue, rabbitmq_server.url)) as publisher,
    ):
        for message in sent:
            publisher.publish(message)
        received = recorder.wait_for(4)
    for event in received[1:3]:
        del event.metadata["message_id"]
    assert received == sent


def test_raw_messages_of_others_come_with_their_routing_key(rabbitmq_server, foreign, queue):
    recorder = Recorder()
    foreign.exchange_declare("det", "topic")
    foreign.queue_bind(queue, "det", "frames.*")
    with running(RabbitMQListener(recorder, queue, rabbitmq_server.url, parser="raw")):
        foreign.basic_publish("det", "frames.eiger", b"\x00\x01")
        assert recorder.wait_for(1) == [Event({"topic": "frames.eiger"}, b"\x00\x01")]


class LateDate(pika.BasicProperties):
    """Has a date in ms where RabbitMQ has s, as some programs send it: pika knows no such year."""

    def encode(self):
        table = b"\x04whenT" + (1_800_000_000_000).to_bytes(8, "big")
        return [self.FLAG_HEADERS.to_bytes(2, "big"), len(table).to_bytes(4, "big"), table]


def test_messages_whose_headers_pika_can_not_decode_come_without_them(
    rabbitmq_server, foreign, queue
):
    recorder = Recorder()
    sizes = [3, 200_000, 4]
    with running(RabbitMQListener(recorder, queue, rabbitmq_server.url, parser="raw")):
        for size in sizes:
            foreign.basic_publish("", queue, bytes(size), LateDate())
        assert recorder.wait_for(3) == [Event({"topic": queue}, bytes(size)) for size in sizes]


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_what_is_declared_is_made_and_bound(rabbitmq_server, foreign, kind):
    name, exchange = f"made-{kind}", f"made-{kind}-exchange"
    recorder = Recorder()
    url = rabbitmq_server.url
    with (
        opened(RabbitMQPublisher(exchange, "a.b", url, declare="topic")) as publisher,
        running(
            RabbitMQListener(
                recorder, name, url, declare=kind, exchange=exchange, routing_key="a.#"
            )
        ),
    ):
        publisher.publish(Start())
        publisher.flush()
        assert recorder.wait_for(1) == [Start()]
        assert f"{name}\t{kind}" in rabbitmq_server.control("list_queues", "-q", "name", "type")


def test_a_message_stays_in_the_queue_until_it_is_acknowledged(rabbitmq_server, foreign, queue):
    recorder = Recorder()
    for number in range(3):
        send(foreign, queue, b"%d" % number)
    listener = RabbitMQListener(recorder, queue, rabbitmq_server.url, parser="raw")
    with running(listener):
        recorder.wait_for(3)
        listener.acknowledge_batch([recorder.tokens[1]])
    # Closed, so that the server has given back what was not acknowledged.
    wait_until(lambda: count(foreign, queue) == 1)
    method, _, body = foreign.basic_get(queue, auto_ack=True)
    assert (body, method.redelivered) == (b"2", True)


def test_what_is_acknowledged_after_start_has_returned_counts(rabbitmq_server, foreign, queue):
    recorder = Recorder()
    send(foreign, queue, b"abc")
    listener = RabbitMQListener(recorder, queue, rabbitmq_server.url, parser="raw")
    listener.open()
    thread = threading.Thread(target=listener.start)
    thread.start()
    recorder.wait_for(1)
    listener.stop()
    thread.join()
    listener.acknowledge_batch([recorder.tokens[0]])
    listener.close()
    assert count(foreign, queue) == 0


def test_no_more_than_prefetch_wait_to_be_acknowledged(rabbitmq_server, foreign, queue):
    recorder = Recorder()
    for number in range(50):
        send(foreign, queue, b"%d" % number)
    listener = RabbitMQListener(recorder, queue, rabbitmq_server.url, parser="raw", prefetch=10)
    with running(listener):
        recorder.wait_for(10)
        wait_until(lambda: count(foreign, queue) == 40)
        listener.acknowledge_batch([recorder.tokens[4]])
        recorder.wait_for(15)
        wait_until(lambda: count(foreign, queue) == 35)
    assert len(recorder.messages) == 15


def test_broken_messages_are_counted_and_go_to_the_dead_letters(rabbitmq_server, foreign):
    foreign.queue_declare("dead")
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    foreign.queue_declare("hostile", arguments=dead)
    recorder = Recorder()
    with running(RabbitMQListener(recorder, "hostile", rabbitmq_server.url)) as listener:
        send(foreign, "hostile", b"\x80\x04pickle")
        send(foreign, "hostile", b"")
        send(foreign, "hostile", b"abc", headers={"header": "{"})
        send(foreign, "hostile", b"abc", headers={"header": 7})
        send(foreign, "hostile", b"abc", headers=HEADER)
        assert recorder.wait_for(1) == [Event({"n": 1}, b"abc")]
        assert listener.rejected == 4
        wait_until(lambda: count(foreign, "dead") == 4)
        listener.acknowledge_batch([recorder.tokens[0]])
    assert count(foreign, "hostile") == 0


def test_returned_messages_are_named_and_all_others_are_published(rabbitmq_server, foreign, queue):
    foreign.exchange_declare("routes", "direct")
    foreign.queue_bind(queue, "routes", "here")
    lost = Event({"n": 1}, b"nobody wants this")
    with opened(RabbitMQPublisher("routes", "nowhere", rabbitmq_server.url)) as publisher:
        publisher.publish(lost)
        with pytest.raises(RefusedError) as caught:
            publisher.flush()
        publisher.flush()  # told once
        assert publisher.returned == 1
    ((message, error),) = caught.value.refused
    assert message == lost
    assert "has no queue for it: exchange 'routes', routing key 'nowhere' (NO_ROUTE)" in str(error)


def test_without_mandatory_nobody_hears_of_them(rabbitmq_server, foreign):
    foreign.exchange_declare("ether", "direct")
    with opened(RabbitMQPublisher("ether", "", rabbitmq_server.url, mandatory=False)) as publisher:
        publisher.publish(Start())
        publisher.flush()
        assert publisher.returned == 0


def test_a_full_queue_that_rejects_holds_the_publisher_up_and_loses_nothing(
    rabbitmq_server, foreign
):
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    foreign.queue_declare("full", arguments=full)
    bodies = [b"0", b"1", b"2"]
    with opened(RabbitMQPublisher("", "full", rabbitmq_server.url)) as publisher:
        for body in bodies:
            publisher.publish(Event({}, body))
        flushed = threading.Thread(target=publisher.flush)
        flushed.start()
        got = []

        def take():
            method, _, body = foreign.basic_get("full", auto_ack=True)
            got.extend([body] if method else [])
            return len(got) == 3

        wait_until(take)
        flushed.join()
    assert sorted(got) == bodies


def test_a_queue_that_stays_full_is_named_and_loses_nothing(rabbitmq_server, foreign):
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    foreign.queue_declare("fuller", arguments=full)
    url = rabbitmq_server.url
    complaint = r"takes nothing now \(a queue that .*'fuller' leads to is full\); read from it"
    with opened(RabbitMQPublisher("", "fuller", url, retry_for_s=0.2)) as publisher:
        publisher.publish(Event({}, b"0"))
        publisher.flush()
        publisher.publish(Event({}, b"1"))
        with pytest.raises(UnavailableError, match=complaint):
            publisher.flush()
        foreign.queue_purge("fuller")
        # It is sent again within a second, and its confirm comes after that.
        wait_until(lambda: has_flushed(publisher))
    assert foreign.basic_get("fuller", auto_ack=True)[2] == b"1"


def has_flushed(publisher):
    """Whether all is confirmed now."""
    with contextlib.suppress(UnavailableError):
        publisher.flush()
        return True
    return False


def test_a_header_too_large_for_a_frame_is_the_fault_of_its_message(rabbitmq_server, queue):
    with opened(RabbitMQPublisher("", queue, rabbitmq_server.url)) as publisher:
        with pytest.raises(EncodeError, match=r"RabbitMQ takes 130048 at most.*into the payload"):
            publisher.publish(Event({"text": "x" * 140_000}))
        publisher.publish(Event({"text": "x" * 120_000}))
        publisher.flush()


def test_both_outlive_the_server_and_nothing_is_lost(mortal_rabbitmq_server, caplog):
    server, recorder = mortal_rabbitmq_server, Recorder()
    patient = {"retry_for_s": 200.0}  # for a server that starts on a busy machine
    listener = RabbitMQListener(recorder, "lasting", server.url, declare="classic", **patient)
    sending = RabbitMQPublisher("", "lasting", server.url, **patient)
    with running(listener), opened(sending) as publisher:
        publisher.publish(Event({"n": 0}))
        publisher.flush()
        recorder.wait_for(1)
        server.kill()
        wait_until(lambda: listener.reconnects == 1)
        for number in range(1, 100):
            publisher.publish(Event({"n": number}))
        server.start()
        publisher.flush()
        recorder.wait_until(lambda: len({event.metadata["n"] for event in recorder.events}) == 100)
    again = [event.metadata["n"] for event in recorder.events if "redelivered" in event.metadata]
    assert again == [0]  # it was not acknowledged
    assert "can't be reached" in caplog.text
    assert f"connected to {listener.address} again" in caplog.text


def test_a_publisher_that_is_asked_to_stop_waits_no_longer(mortal_rabbitmq_server):
    publisher = RabbitMQPublisher("made", "", mortal_rabbitmq_server.url, declare="fanout")
    with opened(publisher):
        publisher._on_waiting = lambda _: True  # as its process does after SIGTERM
        mortal_rabbitmq_server.kill()
        publisher.publish(Event())
        with pytest.raises(UnavailableError, match="can't be reached"):
            publisher.flush()


@pytest.mark.parametrize("role", ["publisher", "listener"])
def test_a_server_that_stays_away_is_named(mortal_rabbitmq_server, role):
    server = mortal_rabbitmq_server
    if role == "publisher":
        stage = RabbitMQPublisher("made", "", server.url, declare="fanout", retry_for_s=0.2)
    else:
        stage = RabbitMQListener(Recorder(), "made", server.url, declare="classic", retry_for_s=0.2)
    stage.open()
    server.kill()
    with pytest.raises(UnavailableError, match=rf"{server.port} can't be reached \(.+\); start it"):
        if role == "publisher":
            stage.publish(Event())
            stage.flush()
        else:
            stage.start()
    stage.close()


def test_a_queue_that_is_deleted_is_waited_for(rabbitmq_server, foreign, caplog):
    recorder = Recorder()
    foreign.queue_declare("brief")
    with running(RabbitMQListener(recorder, "brief", rabbitmq_server.url, parser="raw")):
        wait_until(lambda: foreign.queue_declare("brief", passive=True).method.consumer_count)
        foreign.queue_delete("brief")
        wait_until(lambda: "the queue 'brief' of the RabbitMQ server" in caplog.text)
        foreign.queue_declare("brief")
        send(foreign, "brief", b"abc")
        recorder.wait_for(1)


MAKERS = [
    lambda url, **options: RabbitMQPublisher("", "any", url, **options),
    lambda url, **options: RabbitMQListener(None, "any", url, **options),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_missing_server_is_named_and_may_be_tried_again(make):
    url = f"amqp://127.0.0.1:{free_port()}"
    stage = make(url)
    with pytest.raises(UnavailableError, match=r"can't be reached \(.*refused.*\); start it") as no:
        stage.open()
    assert url in str(no.value)
    stage.close()


def test_what_is_missing_is_named_and_may_be_tried_again(rabbitmq_server):
    listener = RabbitMQListener(None, "not-there", rabbitmq_server.url)
    with pytest.raises(UnavailableError, match=r"no queue 'not-there'.*or set declare"):
        listener.open()
    listener.close()
    publisher = RabbitMQPublisher("not-there", "", rabbitmq_server.url)
    with pytest.raises(UnavailableError, match=r"no exchange 'not-there'.*or set declare"):
        publisher.open()
    publisher.close()


def test_a_queue_of_another_kind_is_a_configuration_error(rabbitmq_server, queue):
    listener = RabbitMQListener(None, queue, rabbitmq_server.url, declare="quorum")
    with pytest.raises(ConfigurationError, match=r"inequivalent arg 'x-queue-type'.*leave declare"):
        listener.open()
    listener.close()


@pytest.mark.parametrize("make", MAKERS)
def test_a_wrong_password_or_host_is_a_configuration_error(rabbitmq_server, monkeypatch, make):
    monkeypatch.setenv("DETECTOR_PASSWORD", "tell-nobody")
    stage = make(rabbitmq_server.url, password_env="DETECTOR_PASSWORD")
    with pytest.raises(ConfigurationError, match="refuses the user 'guest' or the pass") as caught:
        stage.open()
    assert "tell-nobody" not in str(caught.value)
    stage.close()
    stage = make(f"{rabbitmq_server.url}/beamline")
    with pytest.raises(ConfigurationError, match="refuses the virtual host 'beamline'"):
        stage.open()
    stage.close()


def test_the_password_comes_from_the_environment_and_is_told_to_nobody(
    rabbitmq_server, queue, monkeypatch, caplog
):
    rabbitmq_server.control("add_user", "daq", "sesame")
    rabbitmq_server.control("set_permissions", "daq", ".*", ".*", ".*")
    monkeypatch.setenv("DETECTOR_PASSWORD", "sesame")
    url = f"amqp://daq@127.0.0.1:{rabbitmq_server.port}"
    with (
        caplog.at_level(logging.DEBUG),
        opened(RabbitMQPublisher("", queue, url, password_env="DETECTOR_PASSWORD")) as publisher,
    ):
        publisher.publish(Start())
        publisher.flush()
        assert "sesame" not in publisher.address + caplog.text


def test_a_variable_that_is_not_set_is_a_configuration_error(monkeypatch):
    monkeypatch.delenv("DETECTOR_PASSWORD", raising=False)
    with pytest.raises(ConfigurationError, match="DETECTOR_PASSWORD, which is not set"):
        RabbitMQPublisher("", "any", password_env="DETECTOR_PASSWORD").open()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": "http://host"}, "should begin with amqp://"),
        ({"url": "amqp://host:99999"}, "no valid host and port"),
        ({"url": "amqp://daq:sesame@host"}, "url holds a password"),
        ({"ca_file": "ca.pem"}, "should begin with amqps://"),
        ({"prefetch": 0}, "prefetch is 0; expected a number from 1 to 65535"),
        ({"declare": "lazy"}, 'declare is \'lazy\'; expected "classic" or "quorum"'),
        ({"exchange": "det"}, "they need declare"),
    ],
)
def test_options_that_can_not_be_are_refused_at_once(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        RabbitMQListener(Recorder(), "any", **options)
    assert "sesame" not in str(caught.value)


def test_the_header_is_text_that_any_client_reads(rabbitmq_server, foreign, queue):
    with opened(RabbitMQPublisher("", queue, rabbitmq_server.url)) as publisher:
        publisher.publish(Stop({"reason": "ü"}))
        publisher.flush()
        _, properties, body = foreign.basic_get(queue, auto_ack=True)
    assert json.loads(properties.headers["header"]) == {"type": "Stop", "data": {"reason": "ü"}}
    assert body == b""


# In a chain


def give(inputs, **options):
    """Write the table of a `RabbitMQPublisher`; `chains.publisher` is for those with a path."""
    keys = f'inputs = ["{inputs}"]'
    table = listener("give", "arroyo.connectors:RabbitMQPublisher", keys=keys, **options)
    return table.replace("listener =", "publisher =")


def take(queue, url, **options):
    return listener("take", "arroyo.connectors:RabbitMQListener", queue=queue, url=url, **options)


def program_of_the_page(name):
    """A program in Python as the page prints it."""
    (found,) = re.findall(rf"```python\n(# {name}\n.*?)```", PAGE, re.DOTALL)
    return found


def test_the_programs_of_the_page_feed_a_chain_and_read_from_it(
    rabbitmq_server, foreign, make_chain
):
    url = rabbitmq_server.url
    foreign.queue_declare("curves", durable=True)
    chain = make_chain(
        take("frames", url, declare="quorum"),
        give("take", exchange="", routing_key="curves", url=url),
    )
    supervisor = chain.supervise()
    chain.wait_until_ready()
    outside = f"amqp://guest:guest@127.0.0.1:{rabbitmq_server.port}"
    for name in ("send_frames.py", "read_curves.py"):
        (chain.folder / name).write_text(program_of_the_page(name))
    sender = chain.start("python", "send_frames.py", outside)
    reader = chain.start("python", "-W", "error", "read_curves.py", outside)
    assert sender.wait() == 0, sender.text
    assert reader.wait() == 0, reader.text
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0, chain.text()
    start, *events, stop = reader.lines
    assert start == "Start None None 0"
    assert [line.split(maxsplit=2)[:2] for line in events] == [["Event", str(n)] for n in range(3)]
    assert ["'frame': 0" in events[0], events[0].endswith(" 1000")] == [True, True]
    assert stop == "Stop None None 0"
    assert count(foreign, "frames") == 0


def test_messages_that_no_queue_wants_are_quarantined(rabbitmq_server, make_chain):
    chain = make_chain(
        listener("count", events=5),
        give(
            "count", exchange="unbound", routing_key="x", url=rabbitmq_server.url, declare="topic"
        ),
    )
    supervisor = chain.supervise()
    assert supervisor.wait() == 65, chain.text()
    entries = json.loads(chain.command("quarantine", "list", "chain.toml", "--json"))
    assert [each["sequence"] for each in entries] == list(range(5))
    assert "has no queue for it: exchange 'unbound', routing key 'x'" in entries[0]["reason"]


@pytest.mark.logs_errors("is broken, not its messages")
def test_a_queue_that_nobody_bound_is_the_stages_fault(rabbitmq_server, make_chain):
    chain = make_chain(
        listener("count", events=100),
        give(
            "count", exchange="unbound", routing_key="x", url=rabbitmq_server.url, declare="topic"
        ),
        keys="[supervisor]\nmax_restarts = 0\nstop_timeout_s = 1",
    )
    supervisor = chain.supervise()
    supervisor.wait_for("stage give is broken, not its messages")
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 1, chain.text()


def test_what_a_listener_had_when_it_was_killed_comes_again_and_is_not_lost(
    rabbitmq_server, foreign, queue, make_chain
):
    send(foreign, queue, b'{"type": "Start"}')
    for index in range(200):
        send(foreign, queue, b'{"type": "Event", "metadata": {"index": %d}}' % index)
    chain = make_chain(
        take(queue, rabbitmq_server.url),
        operator("work", "Pass", ["take"], every_s=0.005),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(50)
    chain.kill("take.0")
    wait_until(lambda: set(indices(chain.lines())) == set(range(200)), chain.text)
    wait_until(lambda: any(line["type"] == "Stop" for line in chain.lines()), chain.text)
    wait_until(lambda: count(foreign, queue) == 0)
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0, chain.text()
    (stop,) = [line["data"] for line in chain.lines() if line["type"] == "Stop"]
    assert stop["reason"].endswith("what was not finished comes again in another run")
    assert (stop["totals"]["lost"], stop["totals"]["complete"]) == (0, False)
    assert any(line["metadata"].get("redelivered") for line in chain.lines() if "metadata" in line)
