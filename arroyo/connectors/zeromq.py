"""ZeroMQ, to and from programs of other projects: push/pull and publish/subscribe.

Sending stages bind and receiving ones connect unless told otherwise: whoever has the data is
the fixed point that the others look for, as with detectors and their streams. Sending stages
put out three frames, ``[topic][header][payload]``, in the format of `outward`.

What waits in a publisher's socket is bounded in bytes as well: see `_zeromq_queue`.

ZeroMQ acknowledges nothing. What sits in its queues when either end dies is lost, and so is
what a subscriber is too slow for; readers can tell by gaps in ``sequence``.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence

import zmq

from arroyo.errors import EncodeError, UnavailableError
from arroyo.messages import Message
from arroyo.stages import Frame, MessageParser, PollingListener, Processor, Publisher

from ._parsing import TolerantParser, check_texts, make_parser
from ._zeromq_queue import TOTAL_BYTES, PeerLimit, SendQueue
from ._zeromq_socket import OutsideSocket, OutsideStage, choose_address
from .outward import write_outward

_log = logging.getLogger(__name__)

VIEW_BYTES = 64 * 1024
"""Frames from this size on are handed on as views; below, copying is faster."""

SEND_SLICE_MS = 100
"""How long one wait for a free place to send to may last, in ms."""
FULL_SLICE_S = 0.005
"""The same for a wait until receivers have taken some of what waits for them, in s."""

STOP_WAIT_S = 1.0
"""How long `publish()` goes on waiting for a receiver after the stage was asked to stop, in s."""

REPORT_S = 10.0
"""Least time between two warnings of dropped messages, in s."""

GIB = 1 << 30

LISTENER_MESSAGES = 64
"""Messages that may wait in front of a listener; more don't make it faster."""


class ZMQListener(OutsideStage, PollingListener):
    """Receives from a PUSH socket: each message goes to one of its receivers.

    Parameters
    ----------
    operator
        Gets the messages.
    address
        ``tcp://host:port`` or ``ipc://path``; or give `host` and `port`.
    host, port
        The same in two parts; the host is 127.0.0.1 by default. When binding, port 0 takes
        a free one, and host ``*`` every network of this machine.
    bind
        Whether this end is the fixed point. By default it connects to the program that sends;
        bind where several programs send to this one.
    parser
        ``"arroyo"``, ``"raw"``, ``"module:Class"``, or a `MessageParser`.
    high_water_mark
        Messages of each sender that may wait here before it has to wait itself; each may be as
        large as an image.
    max_message_bytes
        Larger frames are refused: ZeroMQ then drops the connection to their sender.
    """

    _kind = zmq.PULL
    _topics: Sequence[str] = ()

    def __init__(
        self,
        operator: Processor,
        address: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        bind: bool = False,
        parser: MessageParser | str = "arroyo",
        high_water_mark: int = LISTENER_MESSAGES,
        max_message_bytes: int = GIB,
    ) -> None:
        super().__init__(operator)
        self._outside = OutsideSocket(
            self._kind,
            choose_address(type(self).__name__, address, host, port, bind=bind),
            bind=bind,
            high_water_mark=high_water_mark,
            max_message_bytes=max_message_bytes,
            topics=self._topics,
        )
        self._parser = TolerantParser(make_parser(parser))

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The ZeroMQ socket itself, of the listener's thread, from `open()` to `close()`."""
        return self._outside.socket

    @property
    def rejected(self) -> int:
        """Messages that could not be read or sent on, since the start."""
        return self._parser.rejected

    def refuse(self, error: EncodeError) -> None:
        """Go on without a message of somebody outside that can't be sent."""
        self._parser.reject(error)

    def poll(self, timeout_s: float) -> Message | None:
        """Receive and parse one message; None if none came or it could not be read."""
        frames = self._receive(timeout_s)
        return self._parser.parse(frames) if frames else None

    def close(self) -> None:
        """Close the socket."""
        self._outside.close(linger_s=0.0)

    def _receive(self, timeout_s: float) -> list[Frame]:
        socket = self._outside.socket
        # Asked for first and waited for only then: one system call less while messages wait.
        for wait_ms in (round(timeout_s * 1000), 0):
            try:
                return [_content(frame) for frame in socket.recv_multipart(zmq.NOBLOCK, copy=False)]
            except zmq.Again:
                if not socket.poll(wait_ms):
                    break
        return []


class ZMQPubSubListener(ZMQListener):
    """Receives from a PUB socket: each subscriber gets everything, unless it is too slow.

    Parameters
    ----------
    operator
        Gets the messages.
    address, host, port
        As for `ZMQListener`.
    bind
        As for `ZMQListener`; bind where publishers connect to this end.
    topics
        Beginnings of the topics wanted: ``["det"]`` also takes ``detector``. By default all.
    parser, high_water_mark, max_message_bytes
        As for `ZMQListener`; with ``"raw"`` the first of several frames is the topic, in
        ``metadata["topic"]``. Above the high-water mark messages are lost.
    """

    _kind = zmq.SUB

    def __init__(
        self,
        operator: Processor,
        address: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        bind: bool = False,
        topics: Sequence[str] = ("",),
        parser: MessageParser | str = "arroyo",
        high_water_mark: int = LISTENER_MESSAGES,
        max_message_bytes: int = GIB,
    ) -> None:
        self._topics = check_texts("ZMQPubSubListener", "topics", topics)
        super().__init__(
            operator,
            address,
            host=host,
            port=port,
            bind=bind,
            parser=make_parser(parser, has_topic=True),
            high_water_mark=high_water_mark,
            max_message_bytes=max_message_bytes,
        )


class ZMQPublisher(OutsideStage, Publisher):
    """Sends by a PUSH socket: each message goes to one of the connected receivers.

    Delivery: published means that ZeroMQ has queued it for a receiver. Up to there it is at
    least once (after a crash of this stage some come twice, with the same run and sequence);
    what is queued when either end dies is lost.

    While no receiver is connected, or all are full, `publish()` waits, and so in the end does
    the chain: nothing is dropped. `send_timeout_s` puts an end to that.

    Parameters
    ----------
    address, host, port
        As for `ZMQListener`.
    bind
        Whether this end is the fixed point, which receivers connect to.
    high_water_mark
        Messages that may be queued for each receiver, but at most 128 MiB of them, judged by
        the first few (8 however large); for all receivers together at most 512 MiB of large ones.
    send_timeout_s
        How long to wait for a receiver, in s; by default as long as it takes. A stage that is
        asked to stop waits for 1 s more.
    linger_s
        How long `close()` waits for what is queued, in s; after that it is lost.
    """

    _kind = zmq.PUSH
    _topic = b""

    def __init__(
        self,
        address: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        bind: bool = True,
        high_water_mark: int = 1000,
        send_timeout_s: float | None = None,
        linger_s: float = 5.0,
    ) -> None:
        limit = PeerLimit(high_water_mark)
        address = choose_address(type(self).__name__, address, host, port, bind=bind)
        self._outside = OutsideSocket(self._kind, address, bind=bind, high_water_mark=limit.mark)
        self._queue = SendQueue(self._outside, limit)
        self._linger_s = linger_s
        self._send_timeout_s = send_timeout_s

    def close(self) -> None:
        """Close the socket; waits up to `linger_s` for what is still to be sent."""
        self._outside.close(self._linger_s)

    def publish(self, message: Message) -> None:
        """Queue the message for one receiver; waits for one in slices of 100 ms.

        Raises
        ------
        EncodeError
            The message holds a value that JSON can't express.
        UnavailableError
            No receiver took it within `send_timeout_s`, or before the stage has to stop.
        """
        frames = self._frames(message)
        if self._queue.put(*frames):
            return
        begun_s = time.monotonic()
        give_up_s = math.inf if self._send_timeout_s is None else begun_s + self._send_timeout_s
        advice = "start one, or give it more time to work"
        while time.monotonic() < give_up_s:
            if self.report_waiting() and time.monotonic() + STOP_WAIT_S < give_up_s:
                give_up_s = time.monotonic() + STOP_WAIT_S
                advice = "this stage was asked to stop, and the message stays with its source"
            self._wait_for_room()
            if self._queue.put(*frames):
                return
        raise UnavailableError(
            f"no receiver at {self.address} took a message within "
            f"{time.monotonic() - begun_s:.2g} s; {advice}"
        )

    def _wait_for_room(self) -> None:
        # Short, so that Python can run signal handlers in between.
        if self._outside.socket.poll(SEND_SLICE_MS, zmq.POLLOUT):
            time.sleep(FULL_SLICE_S)  # one could take it, but all together hold too much

    def _frames(self, message: Message) -> tuple[bytes, bytes, Frame]:
        return (self._topic, *write_outward(message))


class ZMQPubSubPublisher(ZMQPublisher):
    """Sends by a PUB socket: every subscriber gets a copy, and nobody holds the chain up.

    Delivery: at most once. A subscriber misses what is sent before it has connected, and what
    it is too slow for beyond the high-water mark.

    Parameters
    ----------
    address, host, port
        As for `ZMQListener`.
    bind
        Whether this end is the fixed point, which subscribers connect to.
    topic
        First frame of each message, which subscribers may select by.
    high_water_mark
        As for `ZMQPublisher`. Beyond it a slow subscriber loses messages; beyond the 512 MiB of
        all subscribers together everybody does, which is logged.
    linger_s
        How long `close()` waits for what is queued, in s.
    """

    _kind = zmq.PUB

    def __init__(
        self,
        address: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        bind: bool = True,
        topic: str = "",
        high_water_mark: int = 1000,
        linger_s: float = 1.0,
    ) -> None:
        super().__init__(
            address,
            host=host,
            port=port,
            bind=bind,
            high_water_mark=high_water_mark,
            linger_s=linger_s,
        )
        self._topic = topic.encode()
        self._warn_at_s = 0.0
        self.dropped = 0
        """Messages that nobody got, since too much waited for slow subscribers."""

    def publish(self, message: Message) -> None:
        """Send a copy to every subscriber that has room for it; never waits.

        Raises
        ------
        EncodeError
            The message holds a value that JSON can't express.
        """
        if not self._queue.put(*self._frames(message)):
            self._drop()

    def _drop(self) -> None:
        self.dropped += 1
        if time.monotonic() >= self._warn_at_s:
            self._warn_at_s = time.monotonic() + REPORT_S
            _log.warning(
                "%d MiB wait for subscribers at %s that don't read; %d message(s) were dropped for "
                "all subscribers so far. End those that hang",
                TOTAL_BYTES >> 20,
                self.address,
                self.dropped,
            )


def _content(frame: zmq.Frame) -> Frame:
    # Read-only, so that nobody downstream copies it again.
    return frame.buffer.toreadonly() if len(frame) >= VIEW_BYTES else frame.bytes
