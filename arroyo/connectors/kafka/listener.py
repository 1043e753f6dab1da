"""`KafkaListener`: messages of Kafka topics, at least once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import methodcaller
from typing import Any, ClassVar, Literal

import confluent_kafka
from confluent_kafka import KafkaError

from arroyo.connectors.parsing import ParsingListener, TolerantParser, check_texts, make_parser
from arroyo.errors import ConfigurationError, EncodeError, UnavailableError
from arroyo.messages import Event
from arroyo.stages import Frame, MessageParser, Processor

from .client import HEADER, MESSAGE_BYTES_MAX, MISSING, Servers
from .membership import Membership

POLL_S = 0.1
"""Maximum duration of one wait for messages, and so of `stop()`, in s."""
AT_ONCE = 500
"""Maximum number of messages fetched from librdkafka in one call."""
COMMIT_INTERVAL_S = 0.2
"""What was finished in so short a time before `kill -9` may come again."""
SESSION_TIMEOUT_MAX_S = 3600.0
"""The maximum of librdkafka."""
LONGEST_BACK_PRESSURE_MS = 86_400_000
"""librdkafka's maximum. A listener whose chain is full does not poll, and keeps its partitions all
the same: its heartbeats show that it is alive."""


class KafkaListener(ParsingListener):
    """Receives from topics of Kafka servers, as a member of a consumer group.

    Delivery: at least once. Offsets are committed when every sink has finished what is before
    them. What was not committed when this process died is read again, by this stage or another
    member of the group; in the chain it is then a new message with a new key. The source's
    ``window`` limits how many these are.

    Replicas, and other members of the group, share the partitions. A partition that goes to another
    member first waits up to 5 s until what is in flight is finished, so that nothing comes twice.
    Messages come in the order of their partition; there is no order between partitions.
    While servers are away in mid-run, the listener waits for them as long as it takes; what the
    chain has in flight then does not come again, though the group has forgotten this member.

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
        A member that dies keeps its partitions for so long, in s; the servers allow 6 s or more,
        the library an hour.
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
        self.address = self._servers.address
        if not 0.1 <= session_timeout_s <= SESSION_TIMEOUT_MAX_S:
            raise ConfigurationError(
                f"KafkaListener: session_timeout_s is {session_timeout_s:g}; expected some "
                f"seconds, {SESSION_TIMEOUT_MAX_S:g} at most"
            )
        self._membership = Membership(self._servers, group)
        self._settings = {
            "group.id": group,
            "auto.offset.reset": begin,
            "session.timeout.ms": round(session_timeout_s * 1000),
            "heartbeat.interval.ms": round(session_timeout_s * 250),
            "max.poll.interval.ms": LONGEST_BACK_PRESSURE_MS,
            "partition.assignment.strategy": "cooperative-sticky",
            # It commits what `Membership` has stored, and nothing else.
            "enable.auto.commit": True,
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": round(COMMIT_INTERVAL_S * 1000),
            "on_commit": self._membership.note_committed,
            "receive.message.max.bytes": MESSAGE_BYTES_MAX + (1 << 20),
        }
        self._adds_key = parser == "raw"
        self._parser = TolerantParser(make_parser(parser, has_topic=True))
        self._consumer: Any = None

    @property
    def expired(self) -> int:
        """Messages that the servers deleted before this group had read them, since the start."""
        return self._membership.expired

    def open(self) -> None:
        """Connect; UnavailableError if a topic does not exist."""
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
        self._membership.join(consumer, self._topics)
        while not self._membership.is_stopping:
            # Either one or many: nothing that was fetched waits while the group takes partitions.
            records = consumer.consume(AT_ONCE, 0)
            if not records and (first := consumer.poll(POLL_S)) is not None:
                records = [first]
            self._membership.note_acknowledged()
            self._take(records)
            if self._servers.is_away:
                self.report_waiting(str(self._servers.unreachable()))
                self._servers.look(consumer)

    def _take(self, records: Iterable[Any]) -> None:  # noqa: C901  (one function on purpose)
        """Hand records over. Each message passes here, so nearly all of it is without calls."""
        process, parse, membership = self.operator.process, self._parser.parse, self._membership
        progress = None
        for record in records:
            if membership.is_stopping:
                return
            if record.error() is not None:
                self._raise_if_final(record.error(), record.topic())
                continue
            topic, partition, offset = token = record.topic(), record.partition(), record.offset()
            if progress is None or progress.place != (topic, partition):
                self._servers.note_answer()
                progress, name = membership.offsets[topic, partition], topic.encode()
            if not progress.is_ours:
                continue  # it was fetched before the group took the partition away
            if offset != progress.expected:
                membership.look_at_gap(progress, offset)
            frames: list[Frame] = [name, record.value() or b""]
            for key, value in _headers_of(record):
                if key == HEADER and value:
                    frames.insert(-1, value)
            message = parse(frames)
            progress.expected = offset + 1
            if message is None:
                membership.store(progress.committable())
                continue
            if self._adds_key and isinstance(message, Event) and record.key() is not None:
                message.metadata["key"] = _text(record.key())
            before, progress.handed = progress.handed, offset
            try:
                process(message, token=token)
            except EncodeError as error:
                self._parser.reject(error)
                progress.handed = before
                membership.store(progress.committable())
            if membership.acknowledged:
                membership.note_acknowledged()

    def _raise_if_final(self, error: KafkaError, topic: str | None) -> None:
        """Raise an error that no waiting helps against; librdkafka recovers from the others."""
        found = self._servers.explain(error, topic or self._topics[0])
        if isinstance(found, ConfigurationError) or error.code() in MISSING:
            raise found
        if error.fatal():
            raise UnavailableError(
                f"the Kafka servers at {self.address} have excluded this stage from the group "
                f"({error.str()}); it joins again when it is started again"
            )

    def acknowledge_batch(self, tokens: Sequence[tuple[str, int, int]]) -> None:
        """Have finished messages committed, soon. Called from another thread than `start()`."""
        self._membership.acknowledge(tokens)

    def stop(self) -> None:
        """Return from `start()` after the message in hand."""
        self._membership.stop()

    def close(self) -> None:
        """Commit what is finished, and leave the group."""
        if self._consumer is not None:
            self._membership.note_acknowledged()
            self._consumer.close()
            self._consumer = None


# A usual call that is made often is not checked by the interpreter, which dies of what the library
# returns where it fails.
_ask_headers = methodcaller("headers")


def _headers_of(record: Any) -> Sequence[tuple[str, bytes | None]]:
    """Return a record's headers; none, if the name of one of them is no UTF-8."""
    try:
        found: Sequence[tuple[str, bytes | None]] = _ask_headers(record) or ()
    except SystemError:
        return ()
    return found


def _text(key: bytes | str) -> str:
    return key if isinstance(key, str) else key.decode("utf-8", "backslashreplace")
