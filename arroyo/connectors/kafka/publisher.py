"""`KafkaPublisher`: messages to a Kafka topic, at least once.

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

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from arroyo.connectors.wire_format import write_header
from arroyo.errors import ArroyoError, RefusedError, StageError
from arroyo.messages import Event, Message, Start, Stop
from arroyo.stages import Publisher

from .client import HEADER, MESSAGE_BYTES_MAX, Servers

WINDOW_MESSAGES = 10_000
WINDOW_BYTES = 64 * 1024 * 1024
"""Maximum number and total size of unconfirmed messages."""
KEPT_MESSAGES = 2 * WINDOW_MESSAGES
KEPT_BYTES = 2 * WINDOW_BYTES
"""Confirmed messages are forgotten only when none is unconfirmed, so more are kept than that; at
so many, `publish()` waits until none is."""
LOOK_EVERY = 256
"""The producer is asked what has become of messages after so many, when there is no room, and in
`flush()`. It takes as long as to hand over a dozen."""
WAIT_SLICE_S = 0.1
"""Maximum duration of one wait for a confirmation, in s."""
USUAL_S = 3.0
"""A shorter wait for the servers is not reported, in s."""
AWAY_S = 10.0
"""Servers that are away for longer end the stage, which says so and is started again."""
STUCK_S = 30.0
"""So do servers that confirm nothing for so long: if their disk is full, librdkafka tries again and
reports nothing."""
STOP_WAIT_S = 1.0
"""How long a publisher that was asked to stop goes on waiting for the servers, in s."""

_log = logging.getLogger(__name__)


class KafkaPublisher(Publisher):
    """Publishes to a topic of Kafka servers.

    Delivery: at least once. `flush()` returns when the servers have confirmed everything. The
    producer is idempotent: what it sends again after a lost connection is in the topic once.
    What was not confirmed when this process died, or when the servers were away for more than 10 s
    or confirmed nothing for 30 s, is published again, with the same run and sequence in its header,
    and the same key. So is what was not confirmed by servers that have forgotten the producer,
    which is then replaced by a new one.

    Parameters
    ----------
    topic
        Name of the topic, which has to exist.
    servers
        ``"host:port"``, or a list of them, of which one has to answer.
    key
        Field of the metadata (of a Start or Stop: of its data) whose value becomes the record's
        key: messages with the same value keep their order, in one partition. By default each
        message's own key, which spreads them over the partitions.
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
        self.address = self._servers.address
        self._topic = topic
        self._key = key
        self._settings = {
            "enable.idempotence": True,
            "compression.type": compression,
            "message.timeout.ms": 0,  # this class decides how long to try
            "message.max.bytes": MESSAGE_BYTES_MAX,  # the servers decide what a topic takes
            # A call for each message would cost as much as to hand it over.
            "delivery.report.only.error": True,
            "queue.buffering.max.messages": WINDOW_MESSAGES,
            "queue.buffering.max.kbytes": WINDOW_BYTES // 1024,
        }
        self.replaced = 0
        """How often the producer was replaced, since the start."""
        self._producer: Any = None
        self._kept: dict[bytes | int, Message] = {}
        """Messages that are not known to be confirmed, by the record's key if that is the message's
        own, as in a chain, else by number."""
        self._kept_bytes = self._next = 0
        self._refused: list[tuple[Message, Exception]] = []
        self._error: ArroyoError | None = None
        self._is_dead = False

    def open(self) -> None:
        """Connect; UnavailableError if the topic does not exist."""
        self._producer = self._make_producer()
        self._servers.require_topics(self._producer, [self._topic])

    def publish(self, message: Message) -> None:
        """Hand the message to the producer; wait while too much is unconfirmed.

        UnavailableError: servers were away for `AWAY_S` or confirmed nothing for `STUCK_S`.
        """
        if isinstance(message, Event) and not isinstance(message.payload, bytes):
            message = message.copy()
        self._send(message)
        if self._next % LOOK_EVERY == 0:
            self._producer.poll(0)
            self._look()
        if len(self._kept) > KEPT_MESSAGES or self._kept_bytes > KEPT_BYTES:
            self._wait_until(self._is_confirmed)

    def flush(self) -> None:
        """Wait until the servers have confirmed everything; UnavailableError as for `publish`.

        RefusedError: the topic does not take some of the messages, such as those too large.
        """
        self._wait_until(self._is_confirmed)
        self._look()
        if self._refused:
            refused, self._refused = self._refused, []
            raise RefusedError(refused)

    def close(self) -> None:
        """Discard the producer, and what it has not sent."""
        if self._producer is not None:
            _discard(self._producer)
            self._producer = None

    def _make_producer(self) -> Any:
        settings = {**self._settings, "on_delivery": partial(self._note_failure, self.replaced)}
        return self._servers.make(confluent_kafka.Producer, settings)

    def _send(self, message: Message) -> None:
        """Hand a message to the producer, which is nobody else's; wait while there is no room."""
        headers = {HEADER: write_header(message)}
        if not self._produce(message, headers):
            self._wait_until(lambda: self._produce(message, headers), for_room=True)

    def _produce(self, message: Message, headers: dict[str, bytes]) -> bool:
        """Hand a record to the producer; return False if it has no room."""
        value = message.payload if isinstance(message, Event) else b""
        name: bytes | int
        try:
            if self._key is None and message.origin is not None:  # nearly all
                name = message.key.encode()
                self._producer.produce(self._topic, value, name, headers=headers)
            else:
                name = self._next
                note = partial(self._note_failure, self.replaced, name=name)
                self._producer.produce(
                    self._topic, value, self._key_of(message), headers=headers, on_delivery=note
                )
        except BufferError:
            return False
        except KafkaException as error:
            self._kept[name] = message
            self._note_error(name, error.args[0])
        else:
            self._kept[name] = message
        self._next += 1
        self._kept_bytes += len(value)
        return True

    def _key_of(self, message: Message) -> bytes | None:
        """Return the value of the field that is the key, if the message has that."""
        if self._key is None:
            return None
        if isinstance(message, Event):
            value = message.metadata.get(self._key)
        else:
            value = message.data.get(self._key) if isinstance(message, Start | Stop) else None
        return None if value is None else str(value).encode()

    def _wait_until(self, is_done: Callable[[], bool], *, for_room: bool = False) -> None:
        """Wait for the servers; `for_room`: they need not confirm all before it is asked again."""
        give_up_s, fewest, since_s = math.inf, math.inf, time.monotonic()
        while not is_done():
            try:
                (self._producer.poll if for_room else self._producer.flush)(WAIT_SLICE_S)
            except KafkaException:  # so says a producer that is dead
                self._is_dead = True
            self._look()
            if (left := len(self._producer)) < fewest:
                fewest, since_s = left, time.monotonic()
            elif not self._servers.is_away and time.monotonic() >= since_s + STUCK_S:
                raise self._servers.stuck(self._topic, STUCK_S)
            if self.report_waiting(self._say_why(time.monotonic() - since_s)):
                give_up_s = min(give_up_s, time.monotonic() + STOP_WAIT_S)
            if time.monotonic() >= give_up_s:
                raise self._servers.unreachable()

    def _say_why(self, waited_s: float) -> str:
        """Return what is waited for; nothing while that is what any server may take."""
        if self._servers.is_away:
            return str(self._servers.unreachable())
        return "" if waited_s < USUAL_S else str(self._servers.stuck(self._topic, waited_s))

    def _look(self) -> None:
        """Act on what librdkafka has reported meanwhile."""
        if self._has_to_be_replaced():
            self._replace()
        if self._error is not None:
            raise self._error
        if self._servers.away_s > AWAY_S:
            self._servers.require_topics(self._producer, [self._topic])
            self._servers.note_answer()

    def _is_confirmed(self) -> bool:
        """Return True if nothing is unconfirmed, and forget the messages kept until then."""
        if len(self._producer) or self._has_to_be_replaced():
            return False
        if self._kept:
            self._kept.clear()
            self._kept_bytes = 0
            self._servers.note_answer()
        return True

    def _has_to_be_replaced(self) -> bool:
        return self._is_dead or self._servers.is_dead

    def _note_failure(
        self, life: int, error: KafkaError, record: Any, *, name: bytes | int | None = None
    ) -> None:
        if life == self.replaced:
            self._note_error(record.key() if name is None else name, error)

    def _note_error(self, name: bytes | int, error: KafkaError) -> None:
        if error.fatal() or error.code() in _DEAD:
            self._is_dead = True
            return
        message = self._kept.pop(name, None)
        if message is None:
            return  # it was sent twice, and has been refused before
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
        """Make a new producer, and give it what the dead one has not finished."""
        self.replaced += 1
        self._is_dead = self._servers.is_dead = False
        _log.warning(
            "the Kafka servers at %s don't know this producer any more; a new one takes over, and "
            "the last %d messages may be in the topic twice",
            self.address,
            len(self._kept),
        )
        _discard(self._producer)
        self._producer = self._make_producer()
        kept, self._kept, self._kept_bytes = self._kept, {}, 0
        try:
            for message in kept.values():
                self._send(message)
        except ArroyoError as error:
            self._error = error  # the others are lost to this process: no flush may succeed
            raise


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


def _discard(producer: Any) -> None:
    producer.purge()
    with suppress(KafkaException):
        producer.flush(0)
