"""What a publisher makes of a message before it is sent."""

import json

import pika
import pytest

from arroyo import EncodeError, Event, Origin
from arroyo.connectors.rabbitmq.publisher import HEADER_BYTES, RabbitMQPublisher


@pytest.fixture
def publisher():
    return RabbitMQPublisher("det", "frames")


def test_a_message_is_persistent_and_has_its_key_as_its_id(publisher):
    event = Event({"n": 1}, b"abc")
    event._origin = Origin("run", "images.0", 7, 3)
    letter = publisher._write(event)
    assert letter.body == b"abc"
    assert letter.name == event.key
    properties = pika.BasicProperties().decode(letter.properties)
    assert properties.message_id == event.key
    assert properties.delivery_mode == 2
    assert json.loads(properties.headers["header"])["metadata"] == {"n": 1}


def test_messages_that_have_no_key_have_ids_of_their_own(publisher):
    ids = {publisher._write(Event()).name for _ in range(10)}
    assert len(ids) == 10


def test_a_payload_that_is_not_its_own_is_copied(publisher):
    buffer = bytearray(b"abc")
    letter = publisher._write(Event({}, memoryview(buffer)))
    buffer[:] = b"xyz"
    assert letter.body == bytes(letter.message.payload) == b"abc"


def test_a_header_too_large_for_a_frame_is_the_fault_of_its_message(publisher):
    with pytest.raises(EncodeError, match=f"RabbitMQ takes {HEADER_BYTES} at most"):
        publisher._write(Event({"text": "x" * HEADER_BYTES}))
