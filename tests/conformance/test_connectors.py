"""What every listener and publisher of a broker keeps, as they are without a chain.

Each test is a line of the contract; its name is what `Broker.lacks` knows it by.
"""

import json
import threading
import time

import pytest
from brokers import indices_of, numbered
from chains import wait_until
from outside import DEADLINE_S, Recorder, event, opened, running

from arroyo import Event, MessageParser, UnavailableError
from arroyo.connectors.wire_format import OutwardParser

STOP_S = 5.0
"""A listener may take so long to end when it is told to."""
SHARE_S = 3.0
"""So long is waited for the second of two listeners to get its share."""
MANY = 2_000


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state" / "source.0"


def acknowledge(listener, tokens):
    """Acknowledge as the framework does."""
    if hasattr(listener, "acknowledge_batch"):
        listener.acknowledge_batch(tokens)
    else:
        for token in tokens:
            listener.acknowledge(token)


def indices(recorder):
    return [event.metadata["index"] for event in recorder.events]


def test_a_listener_reads_what_another_program_sends(broker, state):
    broker.make("in")
    recorder = Recorder()
    broker.produce("in", numbered(0, 10))
    with running(broker.make_listener(recorder, "in", state)):
        broker.produce("in", numbered(10, 20))
        recorder.wait_for(20)
    assert indices(recorder) == list(range(20))
    assert [bytes(event.payload) for event in recorder.events] == [
        payload for _, payload in numbered(0, 20)
    ]


class OwnParser(MessageParser):
    """Reads the last frame, as others write it."""

    def parse(self, frames):
        return Event(json.loads(bytes(frames[-1])))


def test_a_parser_of_ones_own_reads_what_others_send(broker, state):
    broker.make("in")
    recorder = Recorder()
    with running(broker.make_listener(recorder, "in", state, parser=OwnParser())) as listener:
        broker.produce(
            "in", [(b"{}", b'{"index": 0}'), (b"{}", b"no JSON"), (b"{}", b'{"index": 1}')]
        )
        recorder.wait_for(2)
        assert listener.rejected == 1
    assert indices(recorder) == [0, 1]


def test_another_program_reads_what_a_publisher_sends(broker):
    broker.make("out")
    with opened(broker.make_publisher("out")) as publisher:
        publisher.publish(Event({"index": 0}, b"abc"))
        publisher.publish(Event({"index": 1}, memoryview(bytearray(b"def"))))
        publisher.flush()
        ((header, payload), (_, other)) = broker.consume("out")
    message = OutwardParser().parse([header, payload])
    assert message == Event({"index": 0}, b"abc")
    assert bytes(other) == b"def"


def test_a_listener_reads_what_a_publisher_sends(broker, state):
    broker.make("both")
    recorder = Recorder()
    with (
        running(broker.make_listener(recorder, "both", state)),
        opened(broker.make_publisher("both")) as publisher,
    ):
        for index in range(MANY):
            publisher.publish(Event({"index": index}))
        publisher.flush()
        recorder.wait_for(MANY)
    assert indices(recorder) == list(range(MANY))


@pytest.mark.parametrize("kibibytes", [900, 8192])
def test_big_messages_go_both_ways(broker, state, kibibytes):
    broker.make("both")
    size = kibibytes * 1024
    recorder = Recorder()
    with (
        running(broker.make_listener(recorder, "both", state)),
        opened(broker.make_publisher("both")) as publisher,
    ):
        for index in range(3):
            publisher.publish(Event({"index": index}, bytes([index + 1]) * size))
        publisher.flush()
        recorder.wait_for(3)
    assert [(len(each.payload), each.payload[-1]) for each in recorder.events] == [
        (size, index + 1) for index in range(3)
    ]


def test_each_message_has_a_token_of_its_own(broker, state):
    broker.make("in")
    broker.produce("in", numbered(0, 100))
    recorder = Recorder()
    with running(broker.make_listener(recorder, "in", state)):
        recorder.wait_for(100)
    # A token is a number, text, bytes, or a list of them.
    tokens = [tuple(each) if isinstance(each, list) else each for each in recorder.tokens]
    assert None not in tokens
    assert len(set(tokens)) == 100


def test_what_was_not_acknowledged_comes_again_in_the_same_order(broker, state):
    broker.make("in")
    broker.produce("in", numbered(0, 100))
    first, second = Recorder(), Recorder()
    with running(broker.make_listener(first, "in", state)) as listener:
        first.wait_for(100)
        acknowledge(listener, first.tokens[:40])
    with running(broker.make_listener(second, "in", state)) as listener:
        broker.produce("in", numbered(100, 120))
        second.wait_for(80)
        assert indices(second) == list(range(40, 120))
        assert second.tokens[:60] == first.tokens[40:]
        acknowledge(listener, second.tokens)
    third = Recorder()
    with running(broker.make_listener(third, "in", state)):
        broker.produce("in", numbered(120, 121))
        third.wait_for(1)
    assert indices(third) == [120]


def test_acknowledgements_reach_a_server_that_was_away(broker, state):
    broker.make("in")
    broker.produce("in", numbered(0, 20))
    first = Recorder()
    listener = broker.make_listener(first, "in", state)
    listener.open()
    failed = []
    thread = threading.Thread(target=run_until_away, args=(listener, failed))
    thread.start()
    first.wait_for(20)
    broker.kill()
    acknowledge(listener, first.tokens[:10])
    listener.stop()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    listener.close()
    broker.start()
    second = Recorder()
    with running(broker.make_listener(second, "in", state)):
        second.wait_for(10)
    assert indices(second) == list(range(10, 20))


def run_until_away(listener, failed):
    try:
        listener.start()
    except UnavailableError as error:
        failed.append(error)


def test_two_listeners_share_the_messages(broker, tmp_path):
    broker.make("in")
    recorders = [Recorder(), Recorder()]
    states = [tmp_path / "state" / f"source.{number}" for number in range(2)]
    with (
        running(broker.make_listener(recorders[0], "in", states[0])),
        running(broker.make_listener(recorders[1], "in", states[1])),
    ):
        sent = 0

        def send_more():
            nonlocal sent
            broker.produce("in", numbered(sent, sent + MANY // 4))
            sent += MANY // 4
            wait_until(lambda: sum(len(each.events) for each in recorders) >= sent)

        while sent < MANY:
            send_more()
        # Until the second one reads, the first one gets all that there is.
        wait_until(
            lambda: all(each.events for each in recorders) or send_more(), deadline_s=SHARE_S
        )
        # While both are there: what the one that ends first had not acknowledged goes to the other.
        assert sorted(indices(recorders[0]) + indices(recorders[1])) == list(range(sent))


BROKEN = [
    (b"", b""),
    (b"\x80\x04pickle", b"abc"),
    (b"{", b""),
    (b"[]", b""),
    (b'{"type": "Nothing"}', b""),
    (b'{"type": "Event", "dtype": "|O", "shape": [1]}', b"12345678"),
    (b'{"type": "Event", "dtype": "<u2", "shape": [9223372036854775807]}', b"12"),
    (b'{"type": "Event", "metadata": ' + b'{"a":' * 500 + b"1" + b"}" * 501, b""),
]


def test_broken_messages_are_counted_and_not_read_again(broker, state):
    broker.make("in")
    recorder = Recorder()
    with running(broker.make_listener(recorder, "in", state)) as listener:
        broker.produce("in", BROKEN)
        broker.produce("in", numbered(0, 1))
        recorder.wait_for(1)
        assert listener.rejected == len(BROKEN)
        acknowledge(listener, recorder.tokens)
    recorder = Recorder()
    with running(broker.make_listener(recorder, "in", state)) as listener:
        broker.produce("in", numbered(1, 2))
        recorder.wait_for(1)
        assert listener.rejected == 0
    assert indices(recorder) == [1]


def test_a_listener_waits_for_a_slow_chain(broker, state):
    broker.make("in")
    gate = threading.Event()
    recorder = Recorder(at_event=lambda event: gate.wait(DEADLINE_S))
    with running(broker.make_listener(recorder, "in", state)):
        broker.produce("in", numbered(0, MANY))
        wait_until(lambda: recorder.messages)
        # It may have taken more, but hands over nothing while the chain is full.
        assert len(recorder.messages) == 1
        gate.set()
        recorder.wait_for(MANY)
    assert indices(recorder) == list(range(MANY))


def test_an_idle_listener_is_there_at_once_and_costs_little(broker, state):
    broker.make("in")
    recorder = Recorder()
    with running(broker.make_listener(recorder, "in", state)):
        broker.produce("in", numbered(0, 1))
        recorder.wait_for(1)
        began_s, used_s = time.monotonic(), time.process_time()
        threading.Event().wait(1.0)
        spent = (time.process_time() - used_s) / (time.monotonic() - began_s)
        broker.produce("in", numbered(1, 2))
        recorder.wait_for(2)
    assert spent < 0.1, f"{spent:.0%} of a processor"


def test_an_idle_listener_stops_soon(broker, state):
    broker.make("in")
    with running(broker.make_listener(Recorder(), "in", state)) as listener:
        broker.produce("in", numbered(0, 1))
        stopped_s = time.monotonic()
        listener.stop()
    assert time.monotonic() - stopped_s < STOP_S


def test_a_busy_listener_stops_soon_and_loses_nothing(broker, state):
    broker.make("in")
    broker.produce("in", numbered(0, MANY))
    # It takes so long over each that many are left when it has to stop.
    first, second = Recorder(at_event=lambda event: time.sleep(0.001)), Recorder()
    with running(broker.make_listener(first, "in", state)) as listener:
        first.wait_for(50)
        stopped_s = time.monotonic()
        listener.stop()
    assert time.monotonic() - stopped_s < STOP_S
    taken = len(first.events)
    assert taken < MANY
    listener = broker.make_listener(second, "in", state)
    with running(listener):
        # Nothing was acknowledged, so that it all comes.
        second.wait_for(MANY)
    assert indices(second) == list(range(MANY))


def test_a_publisher_is_idle_and_goes_on(broker):
    broker.make("out")
    with opened(broker.make_publisher("out")) as publisher:
        publisher.flush()
        publisher.publish(Event({"index": 0}))
        publisher.flush()
        publisher.flush()
        publisher.publish(Event({"index": 1}))
        publisher.flush()
    assert indices_of(broker.consume("out")) == [0, 1]


def test_a_message_that_comes_again_is_there_once(broker):
    """Another replica gets what the first one had not acknowledged, in any order."""
    broker.make("out")
    with (
        opened(broker.make_publisher("out")) as one,
        opened(broker.make_publisher("out")) as other,
    ):
        for index in range(5):
            one.publish(event(index))
        one.flush()
        for index in (4, 2, 6, 0, 5):
            other.publish(event(index))
        other.publish(event(0, source="images.1"))
        other.publish(event(0, path=1))
        other.publish(event(0, fragment=((1, 2),)))
        other.flush()
    assert indices_of(broker.consume("out")) == [0, 1, 2, 3, 4, 6, 5, 0, 0, 0]


@pytest.mark.parametrize("role", ["listener", "publisher"])
def test_a_server_that_is_away_is_named_and_may_be_tried_again(broker, state, role):
    broker.make("queue")
    broker.kill()

    def make():
        if role == "publisher":
            return broker.make_publisher("queue")
        return broker.make_listener(Recorder(), "queue", state)

    stage = make()
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1") as caught:
        stage.open()
    assert caught.value.exit_code == 75
    del caught  # with its traceback it would keep what the stage connects by
    stage.close()
    broker.start()
    stage = make()
    stage.open()
    stage.close()


def test_a_publisher_that_lost_its_server_says_so_before_anything_counts(broker):
    broker.make("out")
    publisher = broker.make_publisher("out")
    publisher.open()
    publisher._on_waiting = lambda _: True  # as its process does after SIGTERM
    broker.kill()
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1"):
        publish_and_flush(publisher)
    publisher.close()
    broker.start()
    with opened(broker.make_publisher("out")) as publisher:
        publisher.publish(Event({"index": 1}))
        publisher.flush()
    assert 1 in indices_of(broker.consume("out"))


def publish_and_flush(publisher):
    publisher.publish(Event({"index": 0}))
    publisher.flush()
