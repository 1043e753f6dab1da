"""Redis publish/subscribe: one message is one msgpack array of header and payload.

Redis keeps nothing here: whoever isn't subscribed misses what is sent, and the server cuts off a
subscriber that falls 32 MiB behind (its default).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import redis

from arroyo.connectors.parsing import ParsingListener, TolerantParser, check_texts, make_parser
from arroyo.connectors.retrying import Outage
from arroyo.connectors.wire_format import write_outward
from arroyo.messages import Message
from arroyo.stages import MessageParser, PollingListener, Processor, Publisher

from .client import ANSWER_TIMEOUT_S, LOST, RedisServer

_log = logging.getLogger(__name__)


class RedisListener(ParsingListener, PollingListener):
    """Receives what is published on channels of a Redis server.

    A connection that is lost in mid-run is made anew, as long as it takes; what was published
    meanwhile is missed, and `reconnects` counts how often that happened. The parser gets two
    frames, the channel and the message.

    Parameters
    ----------
    operator
        Gets the messages.
    channels
        Names of the channels.
    url
        ``redis://host:port/db``, ``rediss://`` for TLS, ``unix://path``; without a password.
        Or give `host`, `port` and `db`.
    host, port, db
        Where the server is; by default 127.0.0.1, 6379 and database 0.
    password_env
        Name of the environment variable that holds the password, if one is needed.
    parser
        ``"arroyo"``, ``"raw"`` (channel in ``metadata["topic"]``), ``"module:Class"``, or a
        `MessageParser`.
    """

    def __init__(
        self,
        operator: Processor,
        channels: Sequence[str],
        *,
        url: str | None = None,
        host: str | None = None,
        port: int | None = None,
        db: int | None = None,
        password_env: str | None = None,
        parser: MessageParser | str = "arroyo",
    ) -> None:
        super().__init__(operator)
        self._server = RedisServer("RedisListener", url, host, port, db, password_env=password_env)
        self.address = self._server.address
        self.reconnects = 0
        """How often the connection was lost, since the start."""
        self._channels = check_texts("RedisListener", "channels", channels)
        self._parser = TolerantParser(make_parser(parser, has_topic=True))
        self._subscription: redis.client.PubSub | None = None
        self._outage = Outage(math.inf)
        self._connect_at = 0.0

    def open(self) -> None:
        """Connect and subscribe; nothing that is published from now on is missed."""
        self._server.connect()
        with self._server.explained():
            self._subscription = self._subscribe()

    def poll(self, timeout_s: float) -> Message | None:
        """Wait for a message; None if none came, if it could not be read, or while offline."""
        try:
            if self._subscription is None:
                self._reconnect(timeout_s)
                return None
            # get_message() would apply so short a timeout to the pauses within a message as well.
            connection: Any = self._subscription.connection
            if not connection.can_read(timeout_s):
                return None
            received = self._subscription.get_message(
                ignore_subscribe_messages=True, timeout=ANSWER_TIMEOUT_S
            )
        except LOST as error:
            self._lose(error)
            return None
        if received is None:
            return None
        return self._parser.parse([received["channel"], received["data"]])

    def close(self) -> None:
        """Close the connection."""
        self._drop_subscription()
        self._server.close()

    def _subscribe(self) -> redis.client.PubSub:
        client: Any = self._server.client
        subscription: redis.client.PubSub = client.pubsub()
        try:
            subscription.subscribe(*self._channels)
            # The server confirms each channel, all in a row, before any message.
            for _ in self._channels:
                if subscription.get_message(timeout=ANSWER_TIMEOUT_S) is None:
                    raise redis.exceptions.TimeoutError("no answer to SUBSCRIBE")
        except redis.exceptions.RedisError:
            subscription.close()
            raise
        return subscription

    def _reconnect(self, timeout_s: float) -> None:
        wait_s = self._connect_at - time.monotonic()
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
            return
        self._connect_at = time.monotonic() + self._outage.next_wait_s()
        self._subscription = self._subscribe()
        self._outage.end()
        _log.warning("connected to %s again; what was published meanwhile is lost", self.address)

    def _lose(self, error: Exception) -> None:
        self.report_waiting(str(self._server.explain(error)))
        if self._subscription is not None:
            self.reconnects += 1
            _log.warning("the connection to %s is lost, trying again: %s", self.address, error)
            self._drop_subscription()

    def _drop_subscription(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None


class RedisPublisher(Publisher):
    """Publishes on a channel of a Redis server.

    Delivery: at least once to the server, as publishing is tried again after a lost connection
    and may then have happened twice, with the same run and sequence; at most once from there
    to subscribers, who miss what is published while they are away or too slow.

    Parameters
    ----------
    channel
        Name of the channel.
    url, host, port, db, password_env
        As for `RedisListener`.
    retry_for_s
        How long to try again to publish one message after the connection was lost, in s.
    """

    def __init__(
        self,
        channel: str,
        *,
        url: str | None = None,
        host: str | None = None,
        port: int | None = None,
        db: int | None = None,
        password_env: str | None = None,
        retry_for_s: float = 10.0,
    ) -> None:
        self._server = RedisServer("RedisPublisher", url, host, port, db, password_env=password_env)
        self.address = self._server.address
        self._channel = channel
        self._retry_for_s = retry_for_s

    def open(self) -> None:
        """Connect."""
        self._server.connect()

    def publish(self, message: Message) -> None:
        """Publish the message; after a lost connection try again for `retry_for_s`."""
        body, publish = msgspec.msgpack.encode(write_outward(message)), self._server.client.publish
        self._server.insist(
            lambda: publish(self._channel, body), self._retry_for_s, self.report_waiting
        )

    def close(self) -> None:
        """Close the connection."""
        self._server.close()
