from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from arroyo.connectors.kafka.refusals import ends_producer, find_refusal
from arroyo.messages import Event, Start


def test_a_message_that_is_too_large_is_refused_with_its_size():
    error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    assert "no message with 3 bytes" in str(find_refusal(error, Event({}, b"abc"), "det"))
    assert "no message with 0 bytes" in str(find_refusal(error, Start({"long": 1}), "det"))


def test_a_message_that_is_not_valid_is_refused_in_the_words_of_the_servers():
    error = KafkaError(KafkaError.INVALID_RECORD, "not on a Sunday")
    assert str(find_refusal(error, Event(), "det")).endswith("this message: not on a Sunday")


@pytest.mark.parametrize("code", [KafkaError._ALL_BROKERS_DOWN, KafkaError.UNKNOWN_PRODUCER_ID])
def test_a_message_is_not_to_blame_for_servers_or_the_producer(code):
    assert find_refusal(KafkaError(code), Event(), "det") is None


def test_a_producer_ends_when_the_servers_have_forgotten_it_or_its_library_says_so():
    assert ends_producer(KafkaError(KafkaError.UNKNOWN_PRODUCER_ID))
    assert ends_producer(KafkaError(KafkaError._TRANSPORT, "no more", True))  # fatal
    assert not ends_producer(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
