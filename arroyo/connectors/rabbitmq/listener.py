"""Listener to a RabbitMQ queue. It acknowledges messages when the chain has finished them.

The session's thread receives and acknowledges messages; the listener's thread parses them and hands
them over, and may wait for the chain as long as it has to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, NamedTuple

from arroyo.connectors.parsing import ParsingListener, TolerantParser, make_parser
from arroyo.errors import ConfigurationError, EncodeError, UnavailableError
from arroyo.messages import Event, Message
from arroyo.stages import Frame, MessageParser, Processor

from .client import Server, require_choice
from .deliveries import DeliveryReader, pass_to
from .prefetch import Prefetch
from .session import Session

LOOK_S = 0.2
"""Interval at which an idle listener checks whether the server is away for good, in s."""
LINGER_MESSAGES = 4
LINGER_S = 0.002
"""When so many messages came together, the next ones may wait so long for others to join them."""


class _Token(NamedTuple):
    channel: int
    """Number of the channel in this process: each channel has its own delivery tags."""
    tag: int


class _Delivery(NamedTuple):
    token: _Token
    redelivered: bool
    message_id: str | None
    frames: list[Frame]


class RabbitMQListener(ParsingListener):
    """Receives from a queue of a RabbitMQ server.

    Delivery: at least once. A message is acknowledged when every sink has finished it. What was
    not acknowledged when this process, its connection or the server ended is delivered again, to
    this stage or to another consumer of the queue, with ``metadata["redelivered"]`` true. In the
    chain it is a new message with a new key, since RabbitMQ has no lasting name for a message; a
    ``message_id`` that its sender gave it is in the metadata too.

    Replicas, and other consumers of the queue, share its messages. One that can't be read is
    rejected, so that it goes to the queue's dead-letter exchange, if it has one.
    A lost connection is made anew, in mid-run if that takes less than `retry_for_s`.

    The parser gets the routing key, the ``header`` of the headers if there is one, and the body.

    Parameters
    ----------
    operator
        Gets the messages.
    queue
        Name of the queue.
    url
        ``amqp://user@host:port/vhost``, ``amqps://`` for TLS; without a password.
    password_env
        Name of the environment variable that holds the password; by default it is ``guest``.
    prefetch
        Maximum number of messages that this stage has and has not acknowledged. By default 8000,
        or as many large ones as take 256 MiB, but at least 16. Set it for a queue with a single
        active consumer.
    declare
        ``"classic"`` or ``"quorum"``: create a durable queue of this kind if it does not exist. By
        default it has to exist.
    exchange, routing_key
        With `declare`: bind the queue to this exchange, which has to exist.
    parser
        ``"arroyo"``, ``"raw"`` (routing key in ``metadata["topic"]``), ``"module:Class"``, or a
        `MessageParser`.
    ca_file
        For TLS: certificate of the authority that signed the server's. By default those that this
        machine trusts.
    cert_file, key_file
        For TLS: certificate and key of this stage, if the server requires them.
    retry_for_s
        How long to try again after the connection was lost, in s; then the stage ends, and is
        started again for as long as it takes.
    """

    redelivers: ClassVar[bool] = True

    def __init__(
        self,
        operator: Processor,
        queue: str,
        url: str = "amqp://127.0.0.1:5672",
        *,
        password_env: str | None = None,
        prefetch: int | None = None,
        declare: str | None = None,
        exchange: str | None = None,
        routing_key: str | None = None,
        parser: MessageParser | str = "arroyo",
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        retry_for_s: float = 10.0,
    ) -> None:
        super().__init__(operator)
        server = Server("RabbitMQListener", url, password_env, (ca_file, cert_file, key_file))
        self.address = server.address
        self._session = Session(server, self._set_up, self._note_lost, retry_for_s)
        self._queue = queue
        self._kind = require_choice("RabbitMQListener", "declare", declare, ("classic", "quorum"))
        if (exchange or routing_key) and declare is None:
            raise ConfigurationError(
                "RabbitMQListener: exchange and routing_key say what the queue is bound to when "
                "it is made; they need declare"
            )
        self._binding = exchange, routing_key or ""
        self._parser = TolerantParser(make_parser(parser, has_topic=True))
        self._prefetch = Prefetch(prefetch)
        self._deliveries: SimpleQueue[list[_Delivery]] = SimpleQueue()
        self._stopping = False
        # The session's thread alone changes these.
        self._channel: Any = None
        self._came: list[_Delivery] = []
        self._is_busy = False
        self._reader: DeliveryReader
        self._second = ""
        self._number = 0
        self._acknowledged = 0
        self._finished = _Token(0, 0)
        self._acknowledging = False

    @property
    def reconnects(self) -> int:
        """How often the connection was lost, since the start."""
        return self._session.reconnects

    # The stage's threads

    def open(self) -> None:
        """Connect and subscribe; errors as for `Session.open`."""
        self._session.open()

    def start(self) -> None:
        """Hand over what is delivered until `stop()`; errors as for `Session.raise_if_hopeless`."""
        while not self._stopping:
            try:
                deliveries = self._deliveries.get(timeout=LOOK_S)
            except Empty:
                self._session.raise_if_hopeless()
                if (problem := self._session.problem) is not None:
                    self.report_waiting(str(problem))
                continue
            for delivery in deliveries:
                # What a lost connection has left here is delivered again.
                if delivery.token.channel == self._number and not self._stopping:
                    self._hand_over(delivery)

    def _hand_over(self, delivery: _Delivery) -> None:
        rejected = self._parser.rejected
        message = self._parser.parse(delivery.frames)
        if message is not None:
            try:
                self.operator.process(_described(message, delivery), token=delivery.token)
            except EncodeError as error:
                self._parser.reject(error)
        if self._parser.rejected > rejected:
            self._session.call(lambda: self._reject(delivery.token))

    def acknowledge_batch(self, tokens: Sequence[_Token]) -> None:
        """Acknowledge all messages up to the last of these, soon."""
        self._finished = tokens[-1]
        if not self._acknowledging:
            self._acknowledging = True
            self._session.call(self._acknowledge)

    def stop(self) -> None:
        """Return from `start()` after the message in hand."""
        self._stopping = True
        self._deliveries.put([])

    def close(self) -> None:
        """Acknowledge what is finished, and close the connection; the rest stays in the queue."""
        self._session.close()

    # The session's thread

    def _set_up(self, channel: Any) -> None:
        self._channel, self._acknowledged = channel, 0
        # What was asked for between two connections was not done.
        self._acknowledging = False
        self._number += 1
        self._reader = DeliveryReader(channel.channel_number, channel.connection.params.frame_max)
        self._session.read_by(self._reader)
        channel.add_on_cancel_callback(lambda _: self._session.drop(self._deleted()))
        exchange, routing_key = self._binding
        if self._kind is None:
            channel.queue_declare(self._queue, passive=True, callback=self._found)
        else:
            kind = {"x-queue-type": self._kind}
            # It is bound before the listener is ready.
            ready = self._found if exchange is None else None
            channel.queue_declare(self._queue, durable=True, arguments=kind, callback=ready)
        if exchange is not None:
            channel.queue_bind(self._queue, exchange, routing_key, callback=self._found)

    def _found(self, _frame: Any) -> None:
        self._subscribe(self._prefetch.first)
        self._second = ""
        self._ask_for_more()
        self._session.note_ready()

    def _ask_for_more(self) -> None:
        """Begin a second consumer for all but the first messages, as many as their sizes allow.

        One consumer that is cancelled and begun anew would do, but pika returns what is in flight
        to that: the messages would come out of order.
        """
        if self._second:
            del self._reader.consumers[self._second.encode()]
            self._channel.basic_cancel(self._second)
            self._second = ""
        if self._prefetch.more:
            self._second = self._subscribe(self._prefetch.more)

    def _subscribe(self, prefetch: int) -> str:
        take = partial(self._take, self._number)
        self._channel.basic_qos(prefetch_count=prefetch)  # of the consumers that follow
        consumer: str = self._channel.basic_consume(self._queue, pass_to(take))
        self._reader.consumers[consumer.encode()] = take
        return consumer

    def _take(
        self,
        number: int,
        tag: int,
        redelivered: bool,
        message_id: str | None,
        frames: list[Frame],
    ) -> None:
        if not self._came:
            # Wake the other thread once for all that has arrived together, not for each message:
            # the two would take the interpreter from each other all the time.
            self._session.call_later(LINGER_S if self._is_busy else 0, self._give_out)
        self._came.append(_Delivery(_Token(number, tag), redelivered, message_id, frames))
        if self._prefetch.note(len(frames[-1])):
            self._ask_for_more()

    def _give_out(self) -> None:
        came, self._came = self._came, []
        self._is_busy = len(came) >= LINGER_MESSAGES
        self._deliveries.put(came)

    def _acknowledge(self) -> None:
        self._acknowledging = False
        number, tag = self._finished
        if number == self._number and tag > self._acknowledged and self._is_open():
            self._acknowledged = tag
            self._channel.basic_ack(tag, multiple=True)

    def _reject(self, token: _Token) -> None:
        if token.channel == self._number and self._is_open():
            self._channel.basic_reject(token.tag, requeue=False)

    def _is_open(self) -> bool:
        return self._channel is not None and self._channel.is_open

    def _note_lost(self) -> None:
        self._channel, self._came = None, []
        self._number += 1

    def _deleted(self) -> UnavailableError:
        return UnavailableError(
            f"the queue {self._queue!r} of the RabbitMQ server at {self.address} was deleted; "
            "make it again"
        )


def _described(message: Message, delivery: _Delivery) -> Message:
    """Add what RabbitMQ knows of a message to the metadata of an Event."""
    if isinstance(message, Event):
        if delivery.redelivered:
            message.metadata["redelivered"] = True
        if delivery.message_id is not None:
            message.metadata.setdefault("message_id", delivery.message_id)
    return message
