"""What a listener takes, acknowledges and rejects, by a channel that does what the test says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from outside import Recorder, running

from arroyo.connectors import RabbitMQListener
from arroyo.connectors.rabbitmq.listener import LINGER_MESSAGES, LINGER_S
from arroyo.errors import EncodeError, UnavailableError

HEADER = '{"type": "Event", "metadata": {"n": 1}}'


class Channel:
    """Confirms at once what is asked for, and notes it."""

    is_open = True
    channel_number = 1
    connection = SimpleNamespace(params=SimpleNamespace(frame_max=131_072))

    def __init__(self):
        self.asked = []
        self.done = []
        self.consumers = []
        self.later = []

    def queue_declare(self, queue, *, callback, **options):
        self.asked.append(("declare", queue, options))
        if callback is not None:
            callback(None)

    def queue_bind(self, queue, exchange, routing_key, callback):
        self.asked.append(("bind", queue, exchange, routing_key))
        callback(None)

    def add_on_cancel_callback(self, callback):
        self.cancel = callback

    def basic_qos(self, prefetch_count):
        self.prefetch = prefetch_count

    def basic_consume(self, queue, take):
        self.consumers.append((self.prefetch, take))
        return f"consumer-{len(self.consumers)}"

    def basic_cancel(self, consumer):
        self.done.append(("cancel", consumer))

    def basic_ack(self, tag, multiple):
        self.done.append(("ack", tag, multiple))

    def basic_reject(self, tag, requeue):
        self.done.append(("reject", tag, requeue))

    def deliver(self, tag, *args, **options):
        self.arrive(tag, *args, **options)
        self.do_what_is_due()

    def arrive(
        self, tag, body=b"abc", header=HEADER, *, key="det", redelivered=False, message_id=None
    ):
        method = SimpleNamespace(routing_key=key, delivery_tag=tag, redelivered=redelivered)
        headers = {} if header is None else {"header": header}
        properties = SimpleNamespace(headers=headers, message_id=message_id)
        self.consumers[-1][1](self, method, properties, body)

    def do_what_is_due(self):
        while self.later:
            self.later.pop(0)[1]()


class Session:
    """Does at once, in the caller's thread, what is asked for."""

    problem = None
    reconnects = 0
    connected = True

    def __init__(self, set_up, channel):
        self.set_up, self.channel = set_up, channel
        self.dropped = []

    def open(self):
        self.set_up(self.channel)

    def read_by(self, reader):
        self.reader = reader

    def call(self, do):
        if self.connected:
            do()

    def call_later(self, delay_s, do):
        self.channel.later.append((delay_s, do))

    def note_ready(self):
        pass

    def raise_if_hopeless(self):
        if self.problem is not None:
            raise self.problem

    def drop(self, reason):
        self.dropped.append(reason)

    def close(self):
        pass


@pytest.fixture
def listener():
    """Makes a listener that is open, with its recorder and its channel."""

    def make(operator=None, **options):
        recorder = operator or Recorder()
        made = RabbitMQListener(recorder, "frames", **options)
        channel = Channel()
        made._session = Session(made._set_up, channel)
        return made, recorder, channel

    return make


def test_a_queue_is_only_checked_unless_it_is_to_be_declared(listener):
    made, _, channel = listener()
    made.open()
    assert channel.asked == [("declare", "frames", {"passive": True})]
    made, _, channel = listener(declare="quorum", exchange="det", routing_key="a.#")
    made.open()
    options = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
    assert channel.asked == [("declare", "frames", options), ("bind", "frames", "det", "a.#")]
    assert [prefetch for prefetch, _ in channel.consumers] == [16]


def test_a_message_is_handed_over_with_what_rabbitmq_knows_of_it(listener):
    made, recorder, channel = listener()
    with running(made):
        channel.deliver(1)
        channel.deliver(2, redelivered=True, message_id="m-2", header=HEADER.encode())
        recorder.wait_for(2)
    assert [event.metadata for event in recorder.events] == [
        {"n": 1},
        {"n": 1, "redelivered": True, "message_id": "m-2"},
    ]
    assert [bytes(event.payload) for event in recorder.events] == [b"abc", b"abc"]


def test_where_many_come_together_the_next_ones_wait_a_moment_for_each_other(listener):
    made, recorder, channel = listener()
    delays = []

    def arrive(*tags):
        for tag in tags:
            channel.arrive(tag)
        delays.append([delay_s for delay_s, _ in channel.later])
        channel.do_what_is_due()

    with running(made):
        arrive(*range(1, LINGER_MESSAGES + 1))
        arrive(LINGER_MESSAGES + 1, LINGER_MESSAGES + 2)
        arrive(LINGER_MESSAGES + 3)
        recorder.wait_for(LINGER_MESSAGES + 3)
    assert delays == [[0], [LINGER_S], [0]]


def test_a_foreign_message_comes_with_its_routing_key(listener):
    made, recorder, channel = listener(parser="raw")
    with running(made):
        channel.deliver(1, header=None)
        channel.deliver(2, header=None, key=b"\xff")  # as pika gives it where it is no UTF-8
        recorder.wait_for(2)
    assert [event.metadata["topic"] for event in recorder.events] == ["det", "\\xff"]


def test_messages_are_acknowledged_up_to_the_last_that_is_finished(listener):
    made, recorder, channel = listener()
    with running(made):
        for tag in (1, 2, 3):
            channel.deliver(tag)
        recorder.wait_for(3)
        made.acknowledge_batch(recorder.tokens[:2])
        made.acknowledge_batch(recorder.tokens[:1])
        made.acknowledge_batch(recorder.tokens[2:])
    assert channel.done == [("ack", 2, True), ("ack", 3, True)]


class Refusing(Recorder):
    def process(self, message, token=None):
        super().process(message, token)
        if message.metadata.get("n") == 0:
            raise EncodeError("metadata holds a set")


def test_what_can_not_be_read_or_sent_on_is_rejected(listener):
    made, recorder, channel = listener(Refusing())
    with running(made):
        channel.deliver(1, header="?")
        channel.deliver(2, header=HEADER.replace("1}", "0}"))
        channel.deliver(3)
        recorder.wait_for(2)
    assert channel.done == [("reject", 1, False), ("reject", 2, False)]
    assert made.rejected == 2


def test_nothing_is_acknowledged_by_another_channel_than_it_came_by(listener):
    made, recorder, channel = listener()
    with running(made):
        channel.deliver(1)
        recorder.wait_for(1)
        made._note_lost()
        made._set_up(channel)
        made.acknowledge_batch(recorder.tokens)
    assert channel.done == []


def test_what_is_finished_between_two_connections_stops_no_later_acknowledgement(listener):
    made, recorder, channel = listener()
    with running(made):
        channel.deliver(1)
        recorder.wait_for(1)
        made._note_lost()
        made._session.connected = False
        made.acknowledge_batch(recorder.tokens)
        made._session.connected = True
        made._set_up(channel)
        channel.deliver(1, redelivered=True)
        recorder.wait_for(2)
        made.acknowledge_batch(recorder.tokens[1:])
    assert channel.done == [("ack", 1, True)]


def test_what_a_lost_connection_has_delivered_comes_again_and_is_left(listener):
    made, recorder, channel = listener()
    made.open()
    channel.deliver(1)
    made._note_lost()
    with running(made):  # opens it again
        channel.deliver(1, message_id="again")
        recorder.wait_for(1)
    assert [event.metadata.get("message_id") for event in recorder.events] == ["again"]


def test_a_second_consumer_takes_more_when_their_size_is_known(listener):
    made, recorder, channel = listener()
    with running(made):
        for tag in range(1, 17):
            channel.deliver(tag)
        recorder.wait_for(16)
    assert [prefetch for prefetch, _ in channel.consumers] == [16, 8000 - 16]


def test_a_queue_that_is_deleted_ends_the_connection(listener):
    made, _, channel = listener()
    made.open()
    channel.cancel(None)
    (reason,) = made._session.dropped
    assert "the queue 'frames' of the RabbitMQ server at amqp://127.0.0.1:5672 was deleted" in str(
        reason
    )


def test_a_server_that_is_away_for_good_ends_the_listener(listener):
    made, _, _ = listener()
    made.open()
    made._session.problem = UnavailableError("it is away")
    with pytest.raises(UnavailableError, match="it is away"):
        made.start()


def test_a_consumer_that_was_cancelled_is_left_to_pika(listener):
    made, recorder, channel = listener()
    with running(made):
        for tag in range(1, 17):
            channel.deliver(tag)
        assert set(made._session.reader.consumers) == {b"consumer-1", b"consumer-2"}
        channel.deliver(17, bytes(10_000_000))
        recorder.wait_for(17)
    assert channel.done[0] == ("cancel", "consumer-2")
    assert set(made._session.reader.consumers) == {b"consumer-1", b"consumer-3"}
