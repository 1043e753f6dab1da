"""Listeners over ZeroMQ: to a PUSH socket and to a PUB socket of another program."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from arroyo.connectors.parsing import ParsingListener, TolerantParser, check_texts, make_parser
from arroyo.messages import Message
from arroyo.stages import Frame, MessageParser, PollingListener, Processor

from .outside_socket import OutsideSocket, OutsideStage, choose_address

VIEW_BYTES = 64 * 1024
"""Frames of this size or more are handed on as views; smaller ones are faster to copy."""
GIB = 1 << 30
LISTENER_MESSAGES = 64
"""Messages that may wait for a listener; more don't make it faster."""


class ZMQListener(OutsideStage, ParsingListener, PollingListener):
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
        Maximum number of messages of each sender in the queue, before the sender has to wait; each
        may be as large as an image.
    max_message_bytes
        Larger frames are refused: ZeroMQ then closes the connection to their sender.
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
        """The ZeroMQ socket, for the listener's thread, from `open()` to `close()`."""
        return self._outside.socket

    def poll(self, timeout_s: float) -> Message | None:
        """Receive and parse a message; None if none came or it could not be read."""
        frames = self._receive(timeout_s)
        return self._parser.parse(frames) if frames else None

    def close(self) -> None:
        """Close the socket."""
        self._outside.close(linger_s=0.0)

    def _receive(self, timeout_s: float) -> list[Frame]:
        socket = self._outside.socket
        # Receive first and poll only then: one system call less while messages wait.
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
        Prefixes of the topics to receive: ``["det"]`` also matches ``detector``. By default all.
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


def _content(frame: zmq.Frame) -> Frame:
    # Read-only, so that no stage below copies it again.
    return frame.buffer.toreadonly() if len(frame) >= VIEW_BYTES else frame.bytes
