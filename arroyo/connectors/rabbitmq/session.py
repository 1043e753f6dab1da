"""`Session`: a connection to a RabbitMQ server with one channel, kept up by a thread of its own.

The thread answers heartbeats while the stage's own thread works or waits for the chain, and
reconnects as often as it takes. pika's objects belong to this thread; other threads use `call`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pika

from arroyo.connectors.retrying import Outage
from arroyo.errors import ArroyoError, ConfigurationError, UnavailableError

from .client import Server
from .deliveries import DeliveryReader, read_frame
from .frames import joined

CLOSE_S = 5.0
"""How long `close()` waits for the server's answer, in s."""

RECEIVE_BYTES = 128 * 1024
"""So much is taken from the socket at once; pika takes 4 KiB."""

_log = logging.getLogger(__name__)


class _Connection(pika.SelectConnection):  # type: ignore[misc]
    """Has deliveries read by a reader of their own, if there is one."""

    reader: DeliveryReader | None = None

    def read_by(self, reader: DeliveryReader) -> None:
        self.reader = reader
        self._transport._MAX_RECV_BYTES = RECEIVE_BYTES

    def _read_frame(self) -> tuple[int, Any]:
        if self.reader is not None:
            size, goes_on = self.reader.read(self._frame_buffer)
            if size:
                self._trim_frame_buffer(size)
            if goes_on:
                return 0, None
        return read_frame(self._frame_buffer)


class Session:
    """Keeps a channel open, from `open()` to `close()`.

    Parameters
    ----------
    server
        Where to connect to.
    set_up
        Called with each new channel, in the session's thread. It declares and subscribes, and calls
        `note_ready` when the server has confirmed that.
    note_lost
        Called in the session's thread when the channel is lost. Its delivery tags are invalid then.
    retry_for_s
        How long a server may be away, or take nothing, before `raise_if_hopeless` raises, in s.
    """

    def __init__(
        self,
        server: Server,
        set_up: Callable[[Any], None],
        note_lost: Callable[[], None],
        retry_for_s: float,
    ) -> None:
        self._server = server
        self._retry_for_s = retry_for_s
        self._outage = Outage(retry_for_s)
        self._set_up = set_up
        self._note_lost = note_lost
        self._lock = threading.Lock()
        self._something = threading.Condition(self._lock)
        self._connection: Any = None
        self._channel: Any = None
        self._ready = self._closing = self._ended = False
        self._opened = False
        """Whether it was ready once: from then on it reconnects by itself."""
        self._thread: threading.Thread | None = None
        self.problem: ArroyoError | None = None
        """Why there is no channel, or why the server takes nothing; None if all is well."""
        self._refusal: UnavailableError | None = None
        self.reconnects = 0
        """How often the connection was lost, since the start."""

    # The stage's threads

    def open(self) -> None:
        """Connect, and wait until the channel is set up.

        ConfigurationError: the server refuses the login or what `set_up` asks for.
        UnavailableError: the server can't be reached, or lacks a queue or an exchange.
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
        """Call a function in the session's thread, soon, if there is a connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(do)

    def raise_if_hopeless(self) -> None:
        """Raise the problem if it is of no use to wait any longer.

        ConfigurationError: no new attempt would change it: a password that is not valid any more.
        UnavailableError: it has lasted for `retry_for_s`.
        """
        problem = self.problem
        if problem is not None and (self._ended or self._outage.is_hopeless()):
            raise problem

    def close(self) -> None:
        """Send what was asked for so far, and close the connection."""
        with self._lock:
            self._closing = True
            self._something.notify_all()
        self.call(self._close_connection)
        if self._thread is not None:
            self._thread.join(CLOSE_S)
            self.call(self._stop_loop)  # the server does not answer
            self._thread.join()

    # The session's thread

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames of messages, with few system calls."""
        self._connection._output_marshaled_frames(joined(frames))

    def read_by(self, reader: DeliveryReader) -> None:
        """Have this reader look at what comes before pika does, until the connection is lost."""
        self._connection.read_by(reader)

    def note_ready(self) -> None:
        """Note that the channel can be used."""
        if self._opened:
            _log.warning("connected to %s again", self._server.address)
        with self._lock:
            self._clear_problem()
            self._ready = self._opened = True
            self._something.notify_all()

    def note_refusal(self, why: str, remedy: str) -> None:
        """Note that the server has refused a message that it may take later."""
        if self.problem is None:
            self._refusal = self._takes_nothing(why, remedy)
            self._note_problem(self._refusal)

    def note_taken(self) -> None:
        """Note that the server has taken a message, which ends a refusal."""
        if self.problem is self._refusal:
            self._clear_problem()

    def drop(self, reason: BaseException) -> None:
        """Close a connection whose channel is lost, or of no use."""
        self._explain(reason)
        self._close_connection()

    def call_later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Call a function in the session's thread after a while, if the connection lasts."""
        if self._connection is not None:
            self._connection.ioloop.call_later(delay_s, do)

    def _run(self, parameters: Any) -> None:
        try:
            while not self._closing:
                self._connect(parameters)
                with self._lock:
                    if not self._opened or isinstance(self.problem, ConfigurationError):
                        break
                    self._something.wait_for(lambda: self._closing, self._outage.next_wait_s())
        finally:
            with self._lock:
                self._ended = True
                self._something.notify_all()

    def _connect(self, parameters: Any) -> None:
        """Connect, and serve the connection until it ends."""
        connection = _Connection(
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
        self._note_problem(self._takes_nothing(frame.method.reason, "make room there"))
        _log.warning("%s", self.problem)

    def _note_unblocked(self, _connection: Any, _frame: Any) -> None:
        self._clear_problem()
        _log.warning("the RabbitMQ server at %s takes messages again", self._server.address)

    def _takes_nothing(self, why: str, remedy: str) -> UnavailableError:
        at = f"the RabbitMQ server at {self._server.address}"
        return UnavailableError(f"{at} takes nothing now ({why}); {remedy}")

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
            return  # we closed it, and `drop` has told why
        said = self.problem
        self._note_problem(self._server.explain(reason))
        if self._opened and type(said) is not type(self.problem):
            _log.warning("%s; trying again for %g s", self.problem, self._retry_for_s)

    def _note_problem(self, problem: ArroyoError) -> None:
        self._outage.note()
        self.problem = problem

    def _clear_problem(self) -> None:
        self._outage.end()
        self.problem = None

    def _close_connection(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed or connection.is_closing:
            return
        connection.close()

    def _stop_loop(self) -> None:
        if self._connection is not None:
            self._connection.ioloop.stop()
