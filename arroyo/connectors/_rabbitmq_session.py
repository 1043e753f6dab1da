"""`Session`: one connection to a RabbitMQ server with one channel, kept up by a thread of its own.

The thread answers heartbeats while the stage's own thread waits for the chain or works, and makes
the connection anew as often as it takes. pika's objects belong to this thread: others ask for
something to be done there (`call`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from arroyo.errors import ArroyoError, ConfigurationError, UnavailableError

from ._rabbitmq_client import Server, pika

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0
"""Waits between two attempts to connect double from the one to the other, in s."""
CLOSE_S = 5.0
"""How long `close()` waits for the server's answer, in s."""

_log = logging.getLogger(__name__)


class Session:
    """Keeps a channel open, from `open()` to `close()`.

    Parameters
    ----------
    server
        Where to connect to.
    set_up
        Called with each new channel, in the session's thread: declares and subscribes, and calls
        `note_ready` when the server has confirmed that.
    note_lost
        Called in the session's thread when the channel is gone. Delivery tags mean nothing then.
    """

    def __init__(
        self, server: Server, set_up: Callable[[Any], None], note_lost: Callable[[], None]
    ) -> None:
        self._server = server
        self._set_up = set_up
        self._note_lost = note_lost
        self._lock = threading.Lock()
        self._something = threading.Condition(self._lock)
        self._connection: Any = None
        self._channel: Any = None
        self._ready = self._closing = self._ended = False
        self._opened = False
        """Whether it was ready once: from then on it tries again by itself."""
        self._wait_s = FIRST_WAIT_S
        self._thread: threading.Thread | None = None
        self.problem: ArroyoError | None = None
        """Why there is no channel now, or why the server takes nothing; None if all is well."""
        self.reconnects = 0
        """How often the connection was lost, since the start."""

    # The stage's threads

    def open(self) -> None:
        """Connect, and wait until the channel is set up.

        Raises
        ------
        ConfigurationError
            The server refuses what was asked for.
        UnavailableError
            It can't be reached, or lacks what is needed.
        """
        parameters = self._server.parameters()
        self._thread = threading.Thread(
            target=self._run, args=(parameters,), name="arroyo-rabbitmq", daemon=True
        )
        self._thread.start()
        with self._lock:
            self._something.wait_for(lambda: self._ready or self._ended)
        if not self._opened:
            self._thread.join()
            assert self.problem is not None
            raise self.problem

    def call(self, do: Callable[[], None]) -> None:
        """Have something done in the session's thread, soon; nothing if there is no connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(do)

    def raise_if_refused(self) -> None:
        """Raise what no new attempt would change: a password that is not valid any more."""
        if self._ended and isinstance(self.problem, ConfigurationError):
            raise self.problem

    def close(self) -> None:
        """Close the connection when what was asked for so far has been sent."""
        with self._lock:
            self._closing = True
            self._something.notify_all()
        self.call(self._close_connection)
        if self._thread is not None:
            self._thread.join(CLOSE_S)
            self.call(self._stop_loop)  # the server does not answer
            self._thread.join()

    # The session's thread

    def note_ready(self) -> None:
        """The channel can be used."""
        if self._opened:
            _log.warning("connected to %s again", self._server.address)
        with self._lock:
            self.problem, self._wait_s = None, FIRST_WAIT_S
            self._ready = self._opened = True
            self._something.notify_all()

    def drop(self, reason: BaseException) -> None:
        """Give the connection up: the channel is gone, or of no use."""
        self._explain(reason)
        self._close_connection()

    def call_later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Have something done after a while, if there is a connection then."""
        if self._connection is not None:
            self._connection.ioloop.call_later(delay_s, do)

    def _run(self, parameters: Any) -> None:
        try:
            while not self._closing:
                self._connect(parameters)
                with self._lock:
                    if not self._opened or isinstance(self.problem, ConfigurationError):
                        break
                    self._something.wait_for(lambda: self._closing, self._wait_s)
                self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        finally:
            with self._lock:
                self._ended = True
                self._something.notify_all()

    def _connect(self, parameters: Any) -> None:
        """Connect and serve the connection until it is gone."""
        connection = pika.SelectConnection(
            parameters,
            on_open_callback=self._open_channel,
            on_open_error_callback=lambda _, error: self._note_end(error),
            on_close_callback=lambda _, error: self._note_end(error),
        )
        with self._lock:
            self._connection = connection
            if self._closing:
                connection.ioloop.add_callback_threadsafe(self._close_connection)
        try:
            connection.ioloop.start()
        finally:
            with self._lock:
                self._connection = None
            connection.ioloop.close()

    def _open_channel(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self._note_blocked)
        connection.add_on_connection_unblocked_callback(self._note_unblocked)
        connection.channel(on_open_callback=self._set_up_channel)

    def _set_up_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _, reason: self._channel_closed(reason))
        self._set_up(channel)

    def _channel_closed(self, reason: BaseException) -> None:
        if not self._closing and self._connection is not None and self._connection.is_open:
            self.drop(reason)

    def _note_blocked(self, _connection: Any, frame: Any) -> None:
        self.problem = UnavailableError(
            f"the RabbitMQ server at {self._server.address} takes no messages for now "
            f"({frame.method.reason}): make room there"
        )
        _log.warning("%s", self.problem)

    def _note_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.problem = None
        _log.warning("the RabbitMQ server at %s takes messages again", self._server.address)

    def _note_end(self, reason: BaseException) -> None:
        if not self._closing and self._ready:
            self.reconnects += 1
        self._explain(reason)
        with self._lock:
            self._ready, self._channel = False, None
        self._note_lost()
        self._stop_loop()

    def _explain(self, reason: BaseException) -> None:
        if self._closing or isinstance(reason, pika.exceptions.ConnectionClosedByClient):
            return  # by us, and `drop` has said why
        said, self.problem = self.problem, self._server.explain(reason)
        if self._opened and type(said) is not type(self.problem):
            _log.warning("%s; trying again until it works", self.problem)

    def _close_connection(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed or connection.is_closing:
            return
        connection.close()

    def _stop_loop(self) -> None:
        if self._connection is not None:
            self._connection.ioloop.stop()
