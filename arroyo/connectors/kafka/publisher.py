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

from arroyo.connectors.named_headers import write_named
from arroyo.errors import ArroyoError, RefusedError
from arroyo.messages import Event, Message, Start, Stop
from arroyo.stages import Publisher

from .client import HEADER, MESSAGE_BYTES_MAX, Servers
from .refusals import ends_producer, find_refusal

WINDOW_MESSAGES = 10_000
WINDOW_BYTES = 64 * 1024 * 1024
"""Maximum number and total size of unconfirmed messages."""
KEPT_MESSAGES = 2 * WINDOW_MESSAGES
KEPT_BYTES = 2 * WINDOW_BYTES
"""Confirmed messages are forgotten only when none is unconfirmed, so more are kept than that; at
so many, `publish()` waits until none is."""
SMALL_BYTES = 4096
"""Smaller payloads are kept as they came: they are views of the batch that brought them."""
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
        self._look_at = LOOK_EVERY
        self._refused: list[tuple[Message, Exception]] = []
        self._error: ArroyoError | None = None
        self._is_dead = False

    def open(self) -> None:
        """Connect; UnavailableError if the topic does not exist."""
        self._settings["batch.size"] = self._servers.find_batch_bytes(self._topic)
        self._producer = self._make_producer()

    def publish(self, message: Message) -> None:
        """Publish a Start or Stop; as `publish_batch`."""
        self.publish_batch([message])

    def publish_batch(self, messages: Sequence[Message]) -> None:
        """Hand the messages to the producer; wait while too much is unconfirmed.

        UnavailableError: servers were away for `AWAY_S` or confirmed nothing for `STUCK_S`.
        EncodeError: one of them holds a value that JSON can't express; none is published.
        """
        self._send(messages)
        if self._next >= self._look_at:
            self._look_at = self._next + LOOK_EVERY
            self._producer.poll(0)
            self._look()

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

    def _send(self, messages: Sequence[Message]) -> None:
        """Hand messages to the producer, which is nobody else's; wait while there is no room."""
        for message, (key, header) in zip(messages, write_named(messages), strict=True):
            if not self._produce(message, key, header):
                self._wait_until(partial(self._produce, message, key, header), for_room=True)
            if len(self._kept) > KEPT_MESSAGES or self._kept_bytes > KEPT_BYTES:
                self._wait_until(self._is_confirmed)

    def _produce(self, message: Message, key: str, header: bytes) -> bool:
        """Hand a record to the producer; return False if it has no room."""
        value = b""
        if isinstance(message, Event):
            message, value = _own(message)
        name: bytes | int = key.encode() or self._next
        note = None
        if self._key is not None or not key:
            note = partial(self._note_failure, self.replaced, name=name)
        try:
            self._producer.produce(
                self._topic,
                value,
                name if note is None else self._key_of(message),
                headers=[(HEADER, header)],
                on_delivery=note,
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
        fields = message.data if isinstance(message, Start | Stop) else {}
        fields = message.metadata if isinstance(message, Event) else fields
        value = None if self._key is None else fields.get(self._key)
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
        if ends_producer(error):
            self._is_dead = True
            return
        message = self._kept.pop(name, None)
        if message is None:
            return  # it was sent twice, and has been refused before
        if (refusal := find_refusal(error, message, self._topic)) is not None:
            self._refused.append((message, refusal))
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
            self._send(list(kept.values()))
        except ArroyoError as error:
            self._error = error  # the others are lost to this process: no flush may succeed
            raise


def _own(event: Event) -> tuple[Event, bytes]:
    """Return what can be kept of an event, and its payload."""
    payload = event.payload
    if isinstance(payload, memoryview) and payload.readonly and payload.nbytes <= SMALL_BYTES:
        return event, bytes(payload)
    event = event if isinstance(payload, bytes) else event.copy()
    return event, bytes(event.payload)


def _discard(producer: Any) -> None:
    producer.purge()
    with suppress(KafkaException):
        producer.flush(0)
