"""Publisher to a RabbitMQ exchange, with confirms in the background.

The stage's thread encodes messages and puts them into a window; the session's thread sends them,
notes what is confirmed, and sends the rest again after a lost connection.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable
from itertools import chain, count
from typing import Any

import pika

from arroyo.connectors.wire_format import write_header
from arroyo.errors import EncodeError, RefusedError, UnavailableError
from arroyo.messages import Event, Message
from arroyo.stages import Publisher

from .client import Server, require_choice
from .frames import MessageFrames, write_properties
from .session import Session
from .unconfirmed import OutgoingMessage, UnconfirmedMessages

HEADER_BYTES = 127 * 1024
"""All properties of a message are in one frame, which has 128 KiB by default."""
WINDOW_MESSAGES = 2000
WINDOW_BYTES = 64 * 1024 * 1024
"""Maximum number and total size of unconfirmed messages."""
WAIT_SLICE_S = 0.1
"""Maximum duration of one wait for a confirmation, in s."""
STOP_WAIT_S = 1.0
"""How long a publisher that was asked to stop goes on waiting for the server, in s."""
SILENT_S = 30.0
"""After so long a wait for confirmations the log says so, in s."""
USUAL_S = 3.0
"""A shorter wait for the server is not reported, in s."""
AGAIN_S = 0.5
"""A message that the server could not take (a full queue, say) is sent again after this time."""

_log = logging.getLogger(__name__)


class RabbitMQPublisher(Publisher):
    """Publishes to an exchange of a RabbitMQ server, persistently.

    Delivery: at least once. A message counts as published when the server has confirmed it, which
    it does when the message is safe in every queue that it was routed to. What was not confirmed
    when the connection was lost is sent again, and so may be there twice; its ``message_id``, which
    is the message's key, shows repeats.

    A lost connection is made anew; meanwhile, and while the server takes nothing, `publish()`
    waits, and with it the chain.
    The server drops a message that no queue wants. With `mandatory` it returns the message instead,
    which is then treated as ``on_error`` says.

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
        ``"direct"``, ``"fanout"``, ``"topic"`` or ``"headers"``: create a durable exchange of this
        kind if it does not exist. By default it has to exist.
    mandatory
        Whether a message that no queue wants counts as one that could not be published, by default
        true; otherwise the server drops it.
    ca_file, cert_file, key_file
        As for `RabbitMQListener`.
    retry_for_s
        How long to try again after the connection was lost, or while the server takes nothing, in
        s; then the stage ends, and is started again for as long as it takes.
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
        retry_for_s: float = 10.0,
    ) -> None:
        server = Server("RabbitMQPublisher", url, password_env, (ca_file, cert_file, key_file))
        self.address = server.address
        self.returned = 0
        """Messages that no queue wanted, since the start."""
        self._session = Session(server, self._set_up, self._note_lost, retry_for_s)
        self._exchange, self._routing_key, self._mandatory = exchange, routing_key, mandatory
        kinds = ("direct", "fanout", "topic", "headers")
        self._kind = require_choice("RabbitMQPublisher", "declare", declare, kinds)
        self._unconfirmed = UnconfirmedMessages(WINDOW_MESSAGES, WINDOW_BYTES)
        self._changed = threading.Condition()
        self._condition: Callable[[], bool] = bool
        """What the stage's thread waits for; `bool` is never true."""
        self._sending = False
        self._channel: Any = None
        self._frames: MessageFrames
        """Those of the channel."""
        self._ids = map(f"{uuid.uuid4()}-{{}}".format, count())
        """Ids for messages without a key, which were published outside a chain."""

    # The stage's thread

    def open(self) -> None:
        """Connect, and declare or check the exchange; errors as for `Session.open`."""
        self._session.open()

    def publish(self, message: Message) -> None:
        """Have the message sent soon; wait while too many are unconfirmed.

        Raises
        ------
        EncodeError
            The message holds a value that JSON can't express, or too much metadata.
        UnavailableError
            The server took nothing for `retry_for_s`, or until the stage had to stop.
        """
        outgoing = self._write(message)
        with self._changed:
            if not self._unconfirmed.has_room(len(outgoing.body)):
                self._wait_until(self._unconfirmed.is_roomy)
            self._unconfirmed.put(outgoing)
            wake, self._sending = not self._sending, True
        if wake:
            self._session.call(self._send)

    def flush(self) -> None:
        """Wait until everything is confirmed; UnavailableError as for `publish`.

        RefusedError: the server has returned some messages; all others are published.
        """
        with self._changed:
            number = self._unconfirmed.begin_flush()
            self._wait_until(lambda: self._unconfirmed.is_flushed(number))
        self._raise_refused(number)

    def begin_flush(self) -> Callable[[], bool]:
        """Return a function that tells whether all messages so far are confirmed; see `flush`."""
        with self._changed:
            number = self._unconfirmed.begin_flush()

        def is_over() -> bool:
            self._session.raise_if_hopeless()
            with self._changed:
                if not self._unconfirmed.is_flushed(number):
                    return False
            self._raise_refused(number)
            return True

        return is_over

    def _raise_refused(self, number: int) -> None:
        with self._changed:
            refused = self._unconfirmed.take_refused(number)
        self.returned += len(refused)
        if refused:
            raise RefusedError(refused)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _write(self, message: Message) -> OutgoingMessage:
        if isinstance(message, Event) and not isinstance(message.payload, bytes):
            message = message.copy()  # sent after this call, and perhaps more than once
        header = write_header(message)
        if len(header) > HEADER_BYTES:
            raise EncodeError(
                f"the header of this {type(message).__name__} has {len(header)} bytes, and "
                f"RabbitMQ takes {HEADER_BYTES} at most: put large values into the payload"
            )
        name = next(self._ids) if message.origin is None else message.key
        body = message.payload if isinstance(message, Event) else b""
        return OutgoingMessage(message, name, write_properties(header, name), bytes(body))

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for the server; to be called with `_changed` held."""
        give_up_s, begun_s, warned = math.inf, time.monotonic(), False
        self._condition = condition
        while not condition():
            self._session.raise_if_hopeless()
            waited_s = time.monotonic() - begun_s
            if self.report_waiting(self._say_why(waited_s)):
                give_up_s = min(give_up_s, time.monotonic() + STOP_WAIT_S)
            if time.monotonic() >= give_up_s:
                raise self._session.problem or UnavailableError(
                    f"the RabbitMQ server at {self.address} did not confirm "
                    f"{len(self._unconfirmed)} messages before this stage had to stop; they "
                    "stay with their source"
                )
            if waited_s >= SILENT_S and not warned:
                warned = True
                _log.warning("%s, for %g s; they are waited for", self._say_why(waited_s), SILENT_S)
            self._changed.wait(WAIT_SLICE_S)
        self._condition = bool

    def _say_why(self, waited_s: float) -> str:
        """Return what is waited for; nothing while that is what any server may take."""
        if (problem := self._session.problem) is not None:
            return str(problem)
        if waited_s < USUAL_S:
            return ""
        return (
            f"the RabbitMQ server at {self.address} has not confirmed {len(self._unconfirmed)} "
            f"messages; look at the queues that exchange {self._exchange!r} leads to"
        )

    # The session's thread

    def _set_up(self, channel: Any) -> None:
        channel.add_on_return_callback(self._note_return)
        if self._kind is not None:
            channel.exchange_declare(self._exchange, self._kind, durable=True)
        elif self._exchange:
            channel.exchange_declare(self._exchange, passive=True)
        channel.confirm_delivery(self._note_confirmation, callback=lambda _: self._begin(channel))

    def _begin(self, channel: Any) -> None:
        self._frames = MessageFrames(
            channel.channel_number,
            channel.connection.params.frame_max,
            self._exchange,
            self._routing_key,
            mandatory=self._mandatory,
        )
        with self._changed:
            self._channel = channel
            self._unconfirmed.begin_channel()
        self._session.note_ready()
        self._send()

    def _send(self) -> None:
        with self._changed:
            self._sending = False
            if self._channel is None or not self._channel.is_open:
                return
            messages = list(self._unconfirmed.send())
        write = self._frames.write
        self._session.send(
            chain.from_iterable(write(each.properties, each.body) for each in messages)
        )

    def _note_confirmation(self, frame: Any) -> None:
        method = frame.method
        with self._changed:
            if isinstance(method, pika.spec.Basic.Nack):
                self._unconfirmed.refuse(method.delivery_tag, multiple=method.multiple)
                self._session.note_refusal(
                    f"a queue that exchange {self._exchange!r} with routing key "
                    f"{self._routing_key!r} leads to is full",
                    "read from it, or raise its limit",
                )
                self._session.call_later(AGAIN_S, self._send)
            else:
                self._unconfirmed.confirm(method.delivery_tag, multiple=method.multiple)
                self._session.note_taken()
            if self._condition():
                self._changed.notify_all()

    def _note_return(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        reason = (
            f"the RabbitMQ server at {self.address} has no queue for it: exchange "
            f"{method.exchange!r}, routing key {method.routing_key!r} ({method.reply_text}); "
            "bind one, or set mandatory = false if nobody needs to have it"
        )
        with self._changed:
            self._unconfirmed.note_return(properties.message_id, reason)

    def _note_lost(self) -> None:
        with self._changed:
            self._channel = None
            self._changed.notify_all()
