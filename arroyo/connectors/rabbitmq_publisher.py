"""Messages to a RabbitMQ exchange, confirmed by the server in the background.

The stage's thread writes messages and puts them into a window; the session's thread sends them,
notes what is confirmed, and sends again what was not when the connection is lost.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from arroyo.errors import EncodeError, RefusedError, UnavailableError
from arroyo.messages import Event, Message
from arroyo.stages import Publisher

from ._rabbitmq_client import HEADER, Server, pika, require_choice
from ._rabbitmq_session import Session
from ._rabbitmq_window import Letter, Window
from .outward import write_outward

HEADER_BYTES = 127 * 1024
"""All properties of a message travel in one frame, which has 128 KiB by default."""
WINDOW_MESSAGES = 1000
WINDOW_BYTES = 64 * 1024 * 1024
"""What was published and not confirmed may have this size together."""
WAIT_SLICE_S = 0.1
"""How long one wait for a confirmation may last, in s."""
STOP_WAIT_S = 1.0
"""How long a publisher that was asked to stop goes on waiting for the server, in s."""
SILENT_S = 30.0
"""A server that has not confirmed what is waited for after this time is told of in the log."""
AGAIN_S = 0.5
"""A message that the server could not take, as for a full queue, is sent again after this time."""

_log = logging.getLogger(__name__)


class RabbitMQPublisher(Publisher):
    """Publishes to an exchange of a RabbitMQ server, persistently.

    Delivery: at least once. A message counts as published when the server has confirmed it, and
    it does so when it is safe in every queue that it was routed to. What was not confirmed when
    the connection was lost is sent again, and so may be there twice; its ``message_id``, which is
    the message's key, tells repeats.

    A connection that is lost is made anew, as long as it takes; meanwhile, and while the server
    takes nothing, `publish()` waits, and so in the end does the chain.
    The server drops a message that no queue wants. With `mandatory` it returns it instead, and it
    goes the way that ``on_error`` says.

    Parameters
    ----------
    exchange
        Name of the exchange; ``""`` is the server's default one, whose routing keys are names of
        queues.
    routing_key
        That of every message.
    url, password_env
        As for `RabbitMQListener`.
    declare
        ``"direct"``, ``"fanout"``, ``"topic"`` or ``"headers"``: make the exchange if it is not
        there, a durable one of this kind. By default it has to be there.
    mandatory
        Whether a message that no queue wants is put aside as one that could not be published. By
        default it is, since nobody would have it.
    ca_file, cert_file, key_file
        As for `RabbitMQListener`.
    """

    def __init__(
        self,
        exchange: str,
        routing_key: str = "",
        url: str = "amqp://127.0.0.1:5672",
        *,
        password_env: str | None = None,
        declare: str | None = None,
        mandatory: bool = True,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
    ) -> None:
        server = Server(
            "RabbitMQPublisher",
            url,
            password_env=password_env,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
        )
        self.address = server.address
        self.returned = 0
        """Messages that no queue wanted, since the start."""
        self._session = Session(server, self._set_up, self._note_lost)
        self._exchange, self._routing_key, self._mandatory = exchange, routing_key, mandatory
        kinds = ("direct", "fanout", "topic", "headers")
        self._kind = require_choice("RabbitMQPublisher", "declare", declare, kinds)
        self._window = Window(WINDOW_MESSAGES, WINDOW_BYTES)
        self._changed = threading.Condition()
        self._condition: Callable[[], bool] = bool
        """What the stage's thread waits for, if it does."""
        self._sending = False
        self._channel: Any = None
        self._ids = (f"{uuid.uuid4()}-{number}" for number in itertools.count())
        """Of messages that have no key, published by hand."""

    # The stage's thread

    def open(self) -> None:
        """Connect.

        Raises
        ------
        ConfigurationError
            The password is wrong or missing, or the exchange is another one than `declare` says.
        UnavailableError
            The server can't be reached, or the exchange is not there.
        """
        self._session.open()

    def publish(self, message: Message) -> None:
        """Send the message soon; waits while too many are not confirmed.

        Raises
        ------
        EncodeError
            The message holds a value that JSON can't express, or too much metadata.
        UnavailableError
            The server took nothing until the stage had to stop.
        """
        letter = self._write(message)
        with self._changed:
            if not self._window.has_room(len(letter.body)):
                self._wait_until(self._window.is_roomy)
            self._window.put(letter)
            wake, self._sending = not self._sending, True
        if wake:
            self._session.call(self._send)

    def flush(self) -> None:
        """Wait until everything is confirmed.

        Raises
        ------
        RefusedError
            The server has returned some; all others are published.
        UnavailableError
            The server did not confirm them until the stage had to stop.
        """
        with self._changed:
            self._wait_until(self._window.is_empty)
            refused, self._window.refused = self._window.refused, []
        self.returned += len(refused)
        if refused:
            raise RefusedError(refused)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _write(self, message: Message) -> Letter:
        if isinstance(message, Event) and not isinstance(message.payload, bytes):
            message = message.copy()  # it is sent after this call, perhaps more than once
        header, body = write_outward(message)
        if len(header) > HEADER_BYTES:
            raise EncodeError(
                f"the header of this {type(message).__name__} has {len(header)} bytes, and "
                f"RabbitMQ takes {HEADER_BYTES} at most: put large values into the payload"
            )
        properties = pika.BasicProperties(
            headers={HEADER: header.decode()},
            message_id=next(self._ids) if message.origin is None else message.key,
            delivery_mode=pika.DeliveryMode.Persistent.value,
        )
        return Letter(message, properties, bytes(body))

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for the server; to be called with `_changed` held."""
        give_up_s, warn_s = math.inf, time.monotonic() + SILENT_S
        self._condition = condition
        while not condition():
            self._session.raise_if_refused()
            if self.report_waiting():
                give_up_s = min(give_up_s, time.monotonic() + STOP_WAIT_S)
            if time.monotonic() >= give_up_s:
                raise self._session.problem or UnavailableError(
                    f"the RabbitMQ server at {self.address} did not confirm {len(self._window)} "
                    "messages before this stage had to stop; they stay with their source"
                )
            if time.monotonic() >= warn_s:
                warn_s = math.inf
                _log.warning(
                    "the RabbitMQ server at %s has not confirmed %d messages for %g s; they are "
                    "waited for. Look at the queues that exchange %r leads to",
                    self.address,
                    len(self._window),
                    SILENT_S,
                    self._exchange,
                )
            self._changed.wait(WAIT_SLICE_S)
        self._condition = bool

    # The session's thread

    def _set_up(self, channel: Any) -> None:
        channel.add_on_return_callback(self._note_return)
        if self._kind is not None:
            channel.exchange_declare(self._exchange, self._kind, durable=True)
        elif self._exchange:
            channel.exchange_declare(self._exchange, passive=True)
        channel.confirm_delivery(self._note_confirmation, callback=lambda _: self._begin(channel))

    def _begin(self, channel: Any) -> None:
        with self._changed:
            self._channel = channel
            self._window.begin_channel()
        self._session.note_ready()
        self._send()

    def _send(self) -> None:
        with self._changed:
            self._sending = False
            letters = [] if self._channel is None else list(self._window.send())
        for letter in letters:
            self._channel.basic_publish(
                self._exchange, self._routing_key, letter.body, letter.properties, self._mandatory
            )

    def _note_confirmation(self, frame: Any) -> None:
        method = frame.method
        with self._changed:
            if isinstance(method, pika.spec.Basic.Nack):
                self._window.refuse(method.delivery_tag, multiple=method.multiple)
                self._session.call_later(AGAIN_S, self._send)
            else:
                self._window.confirm(method.delivery_tag, multiple=method.multiple)
            if self._condition():
                self._changed.notify_all()

    def _note_return(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        reason = (
            f"the RabbitMQ server at {self.address} has no queue for it: exchange "
            f"{method.exchange!r}, routing key {method.routing_key!r} ({method.reply_text}); "
            "bind one, or set mandatory = false if nobody needs to have it"
        )
        with self._changed:
            self._window.note_return(properties.message_id, reason)

    def _note_lost(self) -> None:
        with self._changed:
            self._channel = None
            self._changed.notify_all()
