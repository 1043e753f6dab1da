"""`KafkaListener`: messages of Kafka topics, at least once.

Offsets are committed when every sink of the chain has finished what is before them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from arroyo.errors import ConfigurationError, EncodeError, UnavailableError
from arroyo.stages import Frame, Listener, MessageParser, Processor

from ._kafka_client import (
    HEADER,
    MESSAGE_BYTES_MAX,
    MISSING,
    KafkaError,
    KafkaException,
    Servers,
    confluent_kafka,
)
from ._kafka_offsets import Committable, Offsets, Partition
from ._parsing import TolerantParser, check_texts, make_parser

POLL_S = 0.1
"""How long one wait for messages may last, and so how long `stop()` may take."""
AT_ONCE = 500
"""Messages that are fetched from librdkafka in one call."""
COMMIT_INTERVAL_S = 0.2
"""What was finished in so short a time before `kill -9` may come again."""
RELEASE_WAIT_S = 5.0
"""How long a partition that goes to another replica waits for what is under way of it."""
LONGEST_BACK_PRESSURE_MS = 86_400_000
"""A listener whose chain is full asks for nothing, and keeps its partitions all the same: that it
lives is seen by its heartbeats. The most that librdkafka allows."""

_log = logging.getLogger(__name__)


class KafkaListener(Listener):
    """Receives from topics of Kafka servers, as a member of a consumer group.

    Delivery: at least once. Offsets are committed when every sink has finished what is before
    them. What was not committed when this process died is read again, by this stage or another
    member of the group; in the chain it is then a new message with a new key. How many these are
    is bounded by the source's ``window``.

    Replicas, and other members of the group, share the partitions out. One that goes to another
    member first waits up to 5 s until what is under way of it is finished, so that nothing comes
    twice. Messages come in the order of their partition; there is none between partitions.
    Servers that are away in mid-run are waited for, as long as it takes.

    The parser gets the topic, the record header ``header`` if there is one, and the value.

    Parameters
    ----------
    operator
        Gets the messages.
    topics
        Names of the topics.
    group
        Name of the consumer group, under which the servers keep how far it is.
    servers
        ``"host:port"``, or a list of them, of which one has to answer.
    begin
        Where a group begins that has committed nothing yet: ``earliest`` or ``latest``.
    parser
        ``"arroyo"``, ``"raw"`` (topic and key in the metadata), ``"module:Class"``, or a
        `MessageParser`.
    session_timeout_s
        A member that dies keeps its partitions for so long, in s; the servers allow 6 s or more.
    security
        Settings of librdkafka for TLS and SASL: those that begin with ``security.protocol``,
        ``sasl.``, ``ssl.``.
    password_env
        Name of the environment variable that holds the password for SASL.
    """

    redelivers: ClassVar[bool] = True

    def __init__(
        self,
        operator: Processor,
        topics: Sequence[str],
        group: str,
        servers: str | Sequence[str] = "127.0.0.1:9092",
        *,
        begin: Literal["earliest", "latest"] = "earliest",
        parser: MessageParser | str = "arroyo",
        session_timeout_s: float = 10.0,
        security: Mapping[str, str | bool | int] | None = None,
        password_env: str | None = None,
    ) -> None:
        super().__init__(operator)
        self._topics = check_texts("KafkaListener", "topics", topics)
        self._servers = Servers("KafkaListener", servers, security, password_env)
        if session_timeout_s < 0.1:
            raise ConfigurationError(
                f"KafkaListener: session_timeout_s is {session_timeout_s:g}; expected some seconds"
            )
        self._settings = {
            "group.id": group,
            "auto.offset.reset": begin,
            "session.timeout.ms": round(session_timeout_s * 1000),
            "heartbeat.interval.ms": round(session_timeout_s * 250),
            "max.poll.interval.ms": LONGEST_BACK_PRESSURE_MS,
            "partition.assignment.strategy": "cooperative-sticky",
            # Committed is what `acknowledge_batch` has stored, and nothing else.
            "enable.auto.commit": True,
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": round(COMMIT_INTERVAL_S * 1000),
            "receive.message.max.bytes": MESSAGE_BYTES_MAX + (1 << 20),
        }
        self.expired = 0
        """Messages that the servers had deleted before this group has read them."""
        self._adds_key = parser == "raw"
        self._parser = TolerantParser(make_parser(parser, has_topic=True))
        self._offsets = Offsets()
        self._committed: dict[Partition, int] = {}
        # Of the listener's thread alone, as librdkafka's consumer is: while one thread polls it,
        # calls of others would wait for ever.
        self._consumer: Any = None
        self._stopping = False
        self._finished: list[tuple[str, int, int]] = []
        self._changed = threading.Condition()

    @property
    def address(self) -> str:
        """Where the servers are."""
        return self._servers.address

    @property
    def rejected(self) -> int:
        """Messages that could not be read or sent on, since the start."""
        return self._parser.rejected

    def open(self) -> None:
        """Connect, and look whether the topics are there.

        Raises
        ------
        ConfigurationError
            The password is wrong or missing, or the servers' certificate is not trusted.
        UnavailableError
            No server can be reached, or a topic is not there.
        """
        self._consumer = self._servers.make(confluent_kafka.Consumer, self._settings)
        self._servers.require_topics(self._consumer, self._topics)

    def start(self) -> None:
        """Join the group; hand over what comes until `stop()` is called.

        Raises
        ------
        ConfigurationError
            The servers don't permit it.
        UnavailableError
            A topic was deleted.
        """
        consumer = self._consumer
        consumer.subscribe(
            list(self._topics),
            on_assign=self._note_assigned,
            on_revoke=self._release,
            on_lost=self._note_lost,
        )
        while not self._stopping:
            first = consumer.poll(POLL_S)
            self._note_finished()
            if first is None:
                continue
            for record in (first, *consumer.consume(AT_ONCE, 0)):
                if self._stopping:
                    return
                self._take(record)
                if self._finished:
                    self._note_finished()

    def _take(self, record: Any) -> None:
        if record.error() is not None:
            self._raise_if_final(record.error(), record.topic())
            return
        if self._servers.is_away:
            self._servers.note_answer()
        place = record.topic(), record.partition(), record.offset()
        if self._offsets.read(*place):
            self._count_expired(*place)
        message = self._parser.parse(_frames(record))
        if message is None:
            self._leave_out(place)
            return
        if self._adds_key and record.key() is not None:
            message.metadata["key"] = _text(record.key())  # type: ignore[attr-defined]
        self._offsets.hand_over(*place)
        try:
            self.operator.process(message, token=place)
        except EncodeError as error:
            self._parser.reject(error)
            self._leave_out(place)

    def _raise_if_final(self, error: KafkaError, topic: str | None) -> None:
        """Raise what no waiting helps against; librdkafka mends the rest by itself."""
        found = self._servers.explain(error, topic or self._topics[0])
        if isinstance(found, ConfigurationError) or error.code() in MISSING:
            raise found
        if error.fatal():
            raise UnavailableError(
                f"the Kafka servers at {self.address} have excluded this stage from the group "
                f"({error.str()}); it joins again when it is started again"
            )

    def stop(self) -> None:
        """Return from `start()` after the message in hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def close(self) -> None:
        """Commit what is finished, and leave the group."""
        if self._consumer is not None:
            self._note_finished()
            self._consumer.close()
            self._consumer = None

    # What may be committed

    def acknowledge_batch(self, tokens: Sequence[tuple[str, int, int]]) -> None:
        """Have what is finished committed, soon. Called from another thread than the listener's."""
        with self._changed:
            self._finished += tokens
            self._changed.notify_all()

    def _note_finished(self) -> None:
        if self._finished:
            with self._changed:
                finished, self._finished = self._finished, []
            self._store(self._offsets.acknowledge(finished))

    def _leave_out(self, place: tuple[str, int, int]) -> None:
        self._store(self._offsets.leave_out(*place))

    def _store(self, committable: Iterable[Committable]) -> None:
        offsets = [confluent_kafka.TopicPartition(*each) for each in committable]
        if not offsets:
            return
        try:
            self._consumer.store_offsets(offsets=offsets)
        except KafkaException as error:
            # Whoever has got the partition meanwhile reads it again.
            _log.debug("offsets of partitions that are no longer ours: %s", error)

    # What the group decides; called by poll(), in the listener's thread

    def _note_assigned(self, consumer: Any, partitions: list[Any]) -> None:
        _log.info("reading %s", _names(partitions))
        self._servers.note_answer()
        try:
            for each in consumer.committed(partitions, timeout=POLL_S * 10):
                if each.error is None and each.offset >= 0:
                    self._committed[each.topic, each.partition] = each.offset
        except KafkaException as error:
            _log.debug("how far the group is can't be had now: %s", error)

    def _release(self, _consumer: Any, partitions: list[Any]) -> None:
        """Let partitions go, when what is under way of them is finished, or has had its time."""
        keys = [(each.topic, each.partition) for each in partitions]
        give_up_s = time.monotonic() + RELEASE_WAIT_S
        while not (idle := self._offsets.are_idle(keys)) and time.monotonic() < give_up_s:
            with self._changed:
                self._changed.wait_for(lambda: self._finished or self._stopping, POLL_S)
            self._note_finished()
            if self._stopping:
                break
        self._offsets.drop(keys)
        if not idle:
            _log.warning(
                "%s went to another member of the group before all of it was finished; what "
                "was under way comes there again",
                _names(partitions),
            )

    def _note_lost(self, _consumer: Any, partitions: list[Any]) -> None:
        self._offsets.drop((each.topic, each.partition) for each in partitions)
        _log.warning(
            "the group has taken %s away, since this stage was not heard of for too long; what "
            "was not committed comes again",
            _names(partitions),
        )

    def _count_expired(self, topic: str, partition: int, offset: int) -> None:
        """Count what retention has deleted since the group was here last."""
        committed = self._committed.pop((topic, partition), offset)
        if offset <= committed:
            return
        place = confluent_kafka.TopicPartition(topic, partition)
        try:
            oldest, _ = self._consumer.get_watermark_offsets(place, timeout=POLL_S * 10)
        except KafkaException:
            return  # a gap may also be a compacted topic's, or a transaction's mark
        if oldest > committed:
            self.expired += oldest - committed
            _log.warning(
                "%d messages of %s[%d] are lost: the servers have deleted them (retention) before "
                "the group %r has read them",
                oldest - committed,
                topic,
                partition,
                self._settings["group.id"],
            )


def _frames(record: Any) -> list[Frame]:
    frames: list[Frame] = [record.topic().encode()]
    for name, value in record.headers() or ():
        if name == HEADER and value:
            frames.append(value)
    frames.append(record.value() or b"")
    return frames


def _names(partitions: Iterable[Any]) -> str:
    return ", ".join(f"{each.topic}[{each.partition}]" for each in partitions) or "nothing"


def _text(key: bytes | str) -> str:
    return key if isinstance(key, str) else key.decode("utf-8", "backslashreplace")
