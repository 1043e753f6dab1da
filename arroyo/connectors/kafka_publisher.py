"""`KafkaPublisher`: messages into a Kafka topic, at least once.

The payload is a record's value, the outward header one of its headers. A message counts as
published when the servers have confirmed it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from arroyo.errors import ArroyoError, RefusedError, StageError
from arroyo.messages import Event, Message, Start, Stop
from arroyo.stages import Publisher

from ._kafka_client import (
    HEADER,
    MESSAGE_BYTES_MAX,
    KafkaError,
    KafkaException,
    Servers,
    confluent_kafka,
)
from .outward import write_outward

WINDOW_MESSAGES = 10_000
WINDOW_BYTES = 64 * 1024 * 1024
"""What was published and not confirmed may be so much."""
LOOK_EVERY = 32
"""After so many messages, and when there is no room, the producer is asked what has become of them;
`flush()` asks as well."""
WAIT_SLICE_S = 0.1
"""How long one wait for a confirmation may last."""
AWAY_S = 10.0
"""Servers that are away for longer end the stage, which says so and is tried again."""
STOP_WAIT_S = 1.0
"""How long a publisher that was asked to stop goes on waiting for the servers."""

_log = logging.getLogger(__name__)


class KafkaPublisher(Publisher):
    """Publishes to a topic of Kafka servers.

    Delivery: at least once. `flush()` returns when the servers have confirmed everything. The
    producer is idempotent: what it has to send again after a lost connection is in the topic once.
    What was not confirmed when this process died, or when the servers were away for more than
    10 s, is published again, with the same run and sequence in its header, and the same key.
    The same is so for what was not confirmed by servers that have lost their own memory of the
    producer, which is then replaced by a new one.

    Parameters
    ----------
    topic
        Name of the topic, which has to be there.
    servers
        ``"host:port"``, or a list of them, of which one has to answer.
    key
        Field of the metadata (of a Start or Stop: of its data) whose value becomes the record's
        key: messages with the same value keep their order, in one partition. By default each
        message's own key, which shares them out.
    compression
        ``none``, ``gzip``, ``snappy``, ``lz4`` or ``zstd``.
    security, password_env
        As for `KafkaListener`.
    """

    def __init__(
        self,
        topic: str,
        servers: str | Sequence[str] = "127.0.0.1:9092",
        *,
        key: str | None = None,
        compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none",
        security: Mapping[str, str | bool | int] | None = None,
        password_env: str | None = None,
    ) -> None:
        self._servers = Servers("KafkaPublisher", servers, security, password_env)
        self._topic = topic
        self._key = key
        self._settings = {
            "enable.idempotence": True,
            "compression.type": compression,
            # How long to try is decided here, not by librdkafka.
            "message.timeout.ms": 0,
            # What a topic takes at most is said by the servers.
            "message.max.bytes": MESSAGE_BYTES_MAX,
            "queue.buffering.max.messages": WINDOW_MESSAGES,
            "queue.buffering.max.kbytes": WINDOW_BYTES // 1024,
        }
        self.replaced = 0
        """How often the producer had to be replaced, since the start."""
        self._producer: Any = None
        self._unconfirmed: dict[int, Message] = {}
        self._next = 0
        self._refused: list[tuple[Message, Exception]] = []
        self._error: ArroyoError | None = None
        self._is_dead = False

    @property
    def address(self) -> str:
        """Where the servers are."""
        return self._servers.address

    def open(self) -> None:
        """Connect, and look whether the topic is there.

        Raises
        ------
        ConfigurationError
            The password is wrong or missing, or the servers' certificate is not trusted.
        UnavailableError
            No server can be reached, or the topic is not there.
        """
        self._producer = self._servers.make(confluent_kafka.Producer, self._settings)
        self._servers.require_topics(self._producer, [self._topic])

    def publish(self, message: Message) -> None:
        """Hand the message to the producer; waits while too much is unconfirmed.

        Raises
        ------
        EncodeError
            The message holds a value that JSON can't express.
        UnavailableError
            No server can be reached.
        """
        if isinstance(message, Event) and not isinstance(message.payload, bytes):
            message = message.copy()
        number = self._next
        self._next += 1
        self._send(number, message)
        if number % LOOK_EVERY == 0:
            self._producer.poll(0)
            self._look()

    def flush(self) -> None:
        """Wait until the servers have confirmed everything.

        Raises
        ------
        RefusedError
            The topic does not take some of the messages, as those that are too large.
        UnavailableError
            No server can be reached.
        """
        self._wait_until(lambda: not self._unconfirmed)
        self._look()
        if self._refused:
            refused, self._refused = self._refused, []
            raise RefusedError(refused)

    def close(self) -> None:
        """Let go of the producer, and of what it has not sent."""
        if self._producer is not None:
            _discard(self._producer)
            self._producer = None

    def _send(self, number: int, message: Message) -> None:
        header, payload = write_outward(message)
        record = self._key_of(message), header, bytes(payload)
        if not self._produce(number, message, *record):
            self._wait_until(lambda: self._produce(number, message, *record))

    def _produce(
        self, number: int, message: Message, key: bytes | None, header: bytes, value: bytes
    ) -> bool:
        """Hand a record to the producer; return False if that has no room."""
        self._unconfirmed[number] = message
        try:
            self._producer.produce(
                self._topic,
                value,
                key,
                headers=[(HEADER, header)],
                on_delivery=partial(self._note_delivery, self.replaced, number),
            )
        except BufferError:
            del self._unconfirmed[number]
            return False
        except KafkaException as error:
            self._note_error(number, error.args[0])
        return True

    def _key_of(self, message: Message) -> bytes | None:
        if self._key is None:
            return None if message.origin is None else message.key.encode()
        fields: dict[str, Any] = {}
        if isinstance(message, Event):
            fields = message.metadata
        elif isinstance(message, Start | Stop):
            fields = message.data
        value = fields.get(self._key)
        return None if value is None else str(value).encode()

    def _wait_until(self, is_done: Callable[[], bool]) -> None:
        give_up_s = math.inf
        while not is_done():
            try:
                self._producer.flush(WAIT_SLICE_S)
            except KafkaException:  # so says a producer that is dead
                self._is_dead = True
            self._look()
            if self.report_waiting():
                give_up_s = min(give_up_s, time.monotonic() + STOP_WAIT_S)
            if time.monotonic() >= give_up_s:
                raise self._servers.unreachable()

    def _look(self) -> None:
        """Act on what librdkafka has said meanwhile."""
        if self._is_dead or self._servers.is_dead:
            self._replace()
        if self._error is not None:
            raise self._error
        if self._servers.away_s > AWAY_S:
            self._servers.require_topics(self._producer, [self._topic])
            self._servers.note_answer()

    def _note_delivery(self, life: int, number: int, error: KafkaError | None, _: Any) -> None:
        if life != self.replaced:
            return
        if error is not None:
            self._note_error(number, error)
            return
        del self._unconfirmed[number]
        if self._servers.is_away:
            self._servers.note_answer()

    def _note_error(self, number: int, error: KafkaError) -> None:
        if error.fatal() or error.code() in _DEAD:
            self._is_dead = True
            return
        message = self._unconfirmed.pop(number)
        if error.code() in _TOO_LARGE:
            size = memoryview(message.payload).nbytes if isinstance(message, Event) else 0
            reason = (
                f"the topic {self._topic!r} takes no message with {size} bytes of payload; make "
                "its max.message.bytes larger, or that of the Kafka servers (message.max.bytes)"
            )
            self._refused.append((message, StageError(reason)))
        elif error.code() in _INVALID:
            reason = f"the topic {self._topic!r} does not take this message: {error.str()}"
            self._refused.append((message, StageError(reason)))
        else:
            self._error = self._servers.explain(error, self._topic)

    def _replace(self) -> None:
        """Make a new producer, and give it what the dead one did not bring to an end."""
        self.replaced += 1
        self._is_dead = self._servers.is_dead = False
        _log.warning(
            "the Kafka servers at %s don't know this producer any more; a new one takes over, and "
            "the last %d messages may be in the topic twice",
            self.address,
            len(self._unconfirmed),
        )
        _discard(self._producer)
        self._producer = self._servers.make(confluent_kafka.Producer, self._settings)
        for number, message in list(self._unconfirmed.items()):
            self._send(number, message)


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
"""What a producer says that can't go on."""


def _discard(producer: Any) -> None:
    """Let go of a producer at once."""
    producer.purge()
    with suppress(KafkaException):
        producer.flush(0)
