"""Messages of a RabbitMQ queue, acknowledged when the chain has finished them.

The session's thread takes what is delivered and acknowledges; the listener's thread parses it and
hands it over, and may wait there for the chain as long as it has to.
"""

from __future__ import annotations

from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, NamedTuple

from arroyo.errors import ConfigurationError, EncodeError, UnavailableError
from arroyo.messages import Event, Message
from arroyo.stages import Frame, Listener, MessageParser, Processor

from ._parsing import TolerantParser, make_parser
from ._rabbitmq_client import HEADER, Server, require_choice
from ._rabbitmq_session import Session

FIRST_MESSAGES = 16
"""So many are asked for until their sizes tell how many may wait."""
WAITING_MESSAGES = 2000
WAITING_BYTES = 256 * 1024 * 1024
"""By default so many are asked for, that together have this size at most."""
LOOK_S = 0.2
"""How often a listener to which nothing comes looks whether the server refuses it for good."""


class _Token(NamedTuple):
    channel: int
    """Number of the channel in this life: delivery tags count for one channel only."""
    tag: int


class _Delivery(NamedTuple):
    token: _Token
    redelivered: bool
    message_id: str | None
    frames: list[Frame]


class RabbitMQListener(Listener):
    """Receives from a queue of a RabbitMQ server.

    Delivery: at least once. A message is acknowledged when every sink has finished it. What was
    not acknowledged when this process, its connection or the server ended is delivered again, to
    this stage or to another consumer of the queue, with ``metadata["redelivered"]`` true. In the
    chain it is a new message with a new key, since RabbitMQ has no name for a message that lasts;
    where its sender gave it a ``message_id``, that is in the metadata too.

    Replicas, and other consumers of the queue, share its messages out. One that can't be read is
    rejected, so that it goes to the queue's dead-letter exchange, if it has one.
    A connection that is lost in mid-run is made anew, as long as it takes.

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
        Messages that may be with this stage and not acknowledged. By default 2000, of large ones
        so many that they take 256 MiB, but 16 at least. For a queue with a single active consumer
        name a number.
    declare
        ``"classic"`` or ``"quorum"``: make the queue if it is not there, a durable one of this
        kind. By default it has to be there.
    exchange, routing_key
        With `declare`: bind the queue to this exchange, which has to be there.
    parser
        ``"arroyo"``, ``"raw"`` (routing key in ``metadata["topic"]``), ``"module:Class"``, or a
        `MessageParser`.
    ca_file
        For TLS: certificate of the authority that has signed the server's. By default those count
        that this machine trusts.
    cert_file, key_file
        For TLS: certificate and key of this stage, where the server wants them.
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
    ) -> None:
        super().__init__(operator)
        server = Server(
            "RabbitMQListener",
            url,
            password_env=password_env,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
        )
        self.address = server.address
        self._session = Session(server, self._set_up, self._note_lost)
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
        self._deliveries: SimpleQueue[_Delivery | None] = SimpleQueue()
        self._stopping = False
        # The session's thread alone changes these.
        self._channel: Any = None
        self._second = ""
        self._number = 0
        self._acknowledged = 0
        self._finished = _Token(0, 0)
        self._acknowledging = False

    @property
    def rejected(self) -> int:
        """Messages that could not be read or sent on, since the start."""
        return self._parser.rejected

    @property
    def reconnects(self) -> int:
        """How often the connection was lost, since the start."""
        return self._session.reconnects

    # The stage's threads

    def open(self) -> None:
        """Connect and subscribe.

        Raises
        ------
        ConfigurationError
            The password is wrong or missing, or the queue is another one than `declare` says.
        UnavailableError
            The server can't be reached, or the queue is not there.
        """
        self._session.open()

    def start(self) -> None:
        """Hand over what is delivered until `stop()` is called."""
        while not self._stopping:
            try:
                delivery = self._deliveries.get(timeout=LOOK_S)
            except Empty:
                self._session.raise_if_refused()
                continue
            # What a lost connection has left here is delivered again.
            if delivery is not None and delivery.token.channel == self._number:
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
        """Acknowledge everything up to the last of these, soon."""
        self._finished = tokens[-1]
        if not self._acknowledging:
            self._acknowledging = True
            self._session.call(self._acknowledge)

    def stop(self) -> None:
        """Return from `start()` after the message in hand."""
        self._stopping = True
        self._deliveries.put(None)

    def close(self) -> None:
        """Acknowledge what is finished and close the connection; the rest stays in the queue."""
        self._session.close()

    # The session's thread

    def _set_up(self, channel: Any) -> None:
        self._channel, self._acknowledged = channel, 0
        self._number += 1
        channel.add_on_cancel_callback(lambda _: self._session.drop(self._deleted()))
        exchange, routing_key = self._binding
        if self._kind is None:
            channel.queue_declare(self._queue, passive=True, callback=self._found)
        else:
            kind = {"x-queue-type": self._kind}
            # What it is bound to comes before the first message.
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
        """Have a second consumer for all but the first messages, as many as the sizes allow.

        It could be one that is cancelled and begun anew, but pika gives back what is on its way to
        that: the messages would come out of order.
        """
        if self._second:
            self._channel.basic_cancel(self._second)
            self._second = ""
        if self._prefetch.more:
            self._second = self._subscribe(self._prefetch.more)

    def _subscribe(self, prefetch: int) -> str:
        number, channel = self._number, self._channel
        channel.basic_qos(prefetch_count=prefetch)  # of the consumers that follow
        consumer: str = channel.basic_consume(
            self._queue,
            lambda _, method, properties, body: self._take(number, method, properties, body),
        )
        return consumer

    def _take(self, number: int, method: Any, properties: Any, body: bytes) -> None:
        header = (properties.headers or {}).get(HEADER)
        frames: list[Frame] = [method.routing_key.encode()]
        if isinstance(header, str | bytes):
            frames.append(header.encode() if isinstance(header, str) else header)
        frames.append(body)
        token = _Token(number, method.delivery_tag)
        self._deliveries.put(_Delivery(token, method.redelivered, properties.message_id, frames))
        if self._prefetch.note(len(body)):
            self._ask_for_more()

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
        self._channel = None
        self._number += 1

    def _deleted(self) -> UnavailableError:
        return UnavailableError(
            f"the queue {self._queue!r} of the RabbitMQ server at {self.address} was deleted; "
            "make it again"
        )


class Prefetch:
    """How many messages a listener asks for: what was said, or by their sizes. PURE."""

    def __init__(self, given: int | None) -> None:
        if given is not None and not 1 <= given <= 65_535:
            raise ConfigurationError(
                f"RabbitMQListener: prefetch is {given}; expected a number from 1 to 65535"
            )
        self.first = given or FIRST_MESSAGES
        self.more = 0
        """So many more than `first`."""
        self._unseen = FIRST_MESSAGES if given is None else -1
        self._largest_bytes = 1

    def note(self, size: int) -> bool:
        """Note the size of a message; return True if `more` has changed."""
        self._unseen -= 1
        self._largest_bytes = max(self._largest_bytes, size)
        wanted = min(WAITING_MESSAGES, WAITING_BYTES // self._largest_bytes) - FIRST_MESSAGES
        # Up once, when the first have come; down when they get larger by far.
        if (self._unseen == 0 and wanted > 0) or 2 * max(0, wanted) < self.more:
            self.more = max(0, wanted)
            return True
        return False


def _described(message: Message, delivery: _Delivery) -> Message:
    """Add to an Event what RabbitMQ knows of it."""
    if isinstance(message, Event):
        if delivery.redelivered:
            message.metadata["redelivered"] = True
        if delivery.message_id is not None:
            message.metadata.setdefault("message_id", delivery.message_id)
    return message
