"""What servers say of a record that they did not take: is it to blame, or its producer? PURE."""

from __future__ import annotations

from confluent_kafka import KafkaError

from arroyo.errors import StageError
from arroyo.messages import Event, Message

_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
_INVALID = (KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP)
_DEAD = (
    KafkaError._FATAL,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
)
"""Errors of a producer that can't go on."""


def ends_producer(error: KafkaError) -> bool:
    """Return True if the producer can't go on."""
    return error.fatal() or error.code() in _DEAD


def find_refusal(error: KafkaError, message: Message, topic: str) -> StageError | None:
    """Return why a topic will never take a message; None if the servers are to blame."""
    if error.code() in _TOO_LARGE:
        size = memoryview(message.payload).nbytes if isinstance(message, Event) else 0
        return StageError(
            f"the topic {topic!r} takes no message with {size} bytes of payload; make its "
            "max.message.bytes larger, or that of the Kafka servers (message.max.bytes)"
        )
    if error.code() in _INVALID:
        return StageError(f"the topic {topic!r} does not take this message: {error.str()}")
    return None
