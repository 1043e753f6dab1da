"""What is read of a server's bytes is what pika reads of them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from types import SimpleNamespace

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.connectors.rabbitmq.deliveries import DeliveryReader, pass_to, read_frame

CHANNEL, FRAME_BYTES = 258, 4096
PART_BYTES = FRAME_BYTES - 8
HEADER = '{"type": "Größe"}'
PLAIN = {"headers": {"header": HEADER}, "delivery_mode": 2}


def delivery(
    tag, body=b"abc", *, consumer="ours", channel=CHANNEL, redelivered=False, **properties
):
    """Return what a server sends, by pika's own frames."""
    method = pika.spec.Basic.Deliver(
        consumer_tag=consumer,
        delivery_tag=tag,
        redelivered=redelivered,
        exchange="det",
        routing_key="größe",
    )
    sent = pika.frame.Method(channel, method).marshal()
    sent += pika.frame.Header(channel, len(body), pika.BasicProperties(**properties)).marshal()
    for first in range(0, len(body), PART_BYTES):
        sent += pika.frame.Body(channel, body[first : first + PART_BYTES]).marshal()
    return sent


class Taker:
    """Reads, and keeps what it was given."""

    def __init__(self):
        self.taken = []
        self.reader = DeliveryReader(CHANNEL, FRAME_BYTES)
        self.reader.consumers[b"ours"] = self.take
        self.left = b""

    def take(self, *message):
        self.taken.append(message)

    def receive(self, data):
        self.left += data
        size, goes_on = self.reader.read(self.left)
        self.left = self.left[size:]
        return goes_on


def by_pika(tag, body=b"abc", *, redelivered=False, **properties):
    """Return what pika makes of the same."""
    taken = []
    found = pika.BasicProperties()
    found.decode(b"".join(pika.BasicProperties(**properties).encode()))
    method = SimpleNamespace(delivery_tag=tag, redelivered=redelivered, routing_key="größe")
    pass_to(lambda *message: taken.append(message))(None, method, found, body)
    return taken[0]


properties = st.fixed_dictionaries(
    {},
    optional={
        "headers": st.sampled_from(
            [{"header": HEADER}, {"header": ""}, {"header": 7}, {"a": 1, "header": HEADER}, {}]
        ),
        "message_id": st.sampled_from(["", "images.0/run/12", "é"]),
        "delivery_mode": st.sampled_from([1, 2]),
        "content_type": st.just("application/json"),
        "timestamp": st.just(7),
        "cluster_id": st.just("one"),
    },
)
bodies = st.sampled_from([b"", b"\xce", b"abc" * 100, bytes(PART_BYTES)])
messages = st.lists(st.tuples(bodies, st.booleans(), properties), max_size=5)


@given(messages, st.lists(st.integers(0, 9000)))
def test_what_is_taken_is_what_pika_makes_of_it_in_whatever_pieces_it_comes(sent, cuts):
    data = b"".join(
        delivery(tag, body, redelivered=again, **rest)
        for tag, (body, again, rest) in enumerate(sent)
    )
    taker = Taker()
    places = sorted({min(cut, len(data)) for cut in (0, *cuts, len(data))})
    for first, end in itertools.pairwise(places):
        taker.receive(data[first:end])
    assert taker.taken == [
        by_pika(tag, body, redelivered=again, **rest)
        for tag, (body, again, rest) in enumerate(sent)
    ]
    assert taker.left == b""


NOT_OURS = {
    "of another consumer": delivery(2, consumer="cancelled", **PLAIN),
    "of another channel": delivery(2, channel=1, **PLAIN),
    "in several frames": delivery(2, bytes(PART_BYTES + 1), **PLAIN),
    "a heartbeat": pika.frame.Heartbeat().marshal(),
    "another method": pika.frame.Method(CHANNEL, pika.spec.Basic.CancelOk("ours")).marshal(),
    "with a broken end": delivery(2, **PLAIN)[:-1] + b"x",
}


@pytest.mark.parametrize("other", NOT_OURS.values(), ids=NOT_OURS)
def test_all_else_is_left_to_pika(other):
    taker = Taker()
    assert not taker.receive(delivery(1, **PLAIN) + other + delivery(3, **PLAIN))
    assert [tag for tag, *_ in taker.taken] == [1]
    assert taker.left == other + delivery(3, **PLAIN)


def test_pika_gets_none_of_a_delivery_that_is_not_there_as_a_whole():
    data = delivery(1, **PLAIN)
    method_bytes = len(data) - len(data[data.index(b"\x02\x01\x02") :])
    for count in range(method_bytes, len(data)):
        taker = Taker()
        assert taker.receive(data[:count]), count
        assert not taker.taken
        assert not taker.receive(data[count:])
        assert len(taker.taken) == 1


def test_a_consumer_may_end_while_its_messages_come():
    taker = Taker()
    taker.reader.consumers[b"ours"] = lambda *_: taker.reader.consumers.clear()
    taker.receive(delivery(1, **PLAIN) + delivery(2, **PLAIN))
    assert taker.left == delivery(2, **PLAIN)


def test_names_that_are_no_utf_8_come_as_well():
    # pika gives them as bytes.
    data = delivery(1, message_id="é", **PLAIN).replace("é".encode(), b"\xff\xff")
    taker = Taker()
    taker.receive(data.replace("größe".encode(), b"\xff" * 7))
    method = SimpleNamespace(delivery_tag=1, redelivered=False, routing_key=b"\xff" * 7)
    named = SimpleNamespace(headers={"header": HEADER}, message_id=b"\xff\xff")
    pass_to(taker.take)(None, method, named, b"abc")
    assert taker.taken[0] == taker.taken[1]
    assert taker.taken[0][2:] == ("\ufffd\ufffd", [method.routing_key, HEADER.encode(), b"abc"])


YEAR_59010 = (1_800_000_000_000).to_bytes(8, "big")


def undecodable(tag, body):
    """Return a delivery with a date that the server took and pika can't decode."""
    data = delivery(tag, body, headers={"t": datetime(2026, 1, 1, tzinfo=UTC)}, message_id="mine")
    place = data.index(b"\x01tT") + 3
    return data[:place] + YEAR_59010 + data[place + 8 :]


def test_headers_that_pika_can_not_decode_are_left_out():
    taker = Taker()
    taker.receive(undecodable(1, b"abc") + delivery(2, **PLAIN))
    assert [message for message, *_ in taker.taken] == [1, 2]
    assert taker.taken[0] == (1, False, None, ["größe".encode(), b"abc"])


def test_pika_gets_them_without_these_headers_as_well():
    body = bytes(PART_BYTES + 1)
    data, frames = undecodable(1, body), []
    while data:
        size, found = read_frame(data)
        frames.append(found)
        data = data[size:]
    method, header, *parts = frames
    assert method.method.delivery_tag == 1
    assert (header.channel_number, header.body_size) == (CHANNEL, len(body))
    assert header.properties.headers is None
    assert b"".join(part.fragment for part in parts) == body


def test_other_frames_that_can_not_be_read_are_errors():
    broken = pika.frame.Method(CHANNEL, pika.spec.Basic.CancelOk("ours")).marshal()
    with pytest.raises(KeyError):
        read_frame(broken[:9] + b"\xff\xff" + broken[11:])
    with pytest.raises(pika.exceptions.InvalidFrameError):
        read_frame(delivery(1, **PLAIN)[:-1].replace(b"\xce", b"x"))
