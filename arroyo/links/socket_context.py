"""`SocketContext`: makes the sockets of one replica, with their limits, and leaves none behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import zmq

from arroyo.errors import ArroyoError, UnavailableError, fault_of

MAX_FRAME_BYTES = 4 * 1024**3
"""A peer that announces a larger frame is cut off."""
PUBLICATION_MESSAGES = 1000
"""Batches that wait for one slow subscriber before it loses some."""


class SocketContext:
    """A ZeroMQ context whose sockets all have the limits that links need.

    Push-pull sockets have no high-water mark: the window and the credits bound what is in flight,
    so no send ever waits. Pub-sub sockets have one and drop what is beyond it.
    """

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._bound: list[str] = []

    def socket(self, kind: int) -> zmq.Socket[bytes]:
        """Make a socket that is neither bound nor connected."""
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        socket.set_hwm(PUBLICATION_MESSAGES if kind in (zmq.XPUB, zmq.SUB) else 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 5)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 50)
        socket.setsockopt(zmq.LINGER, 0)
        return socket

    def bind(self, kind: int, address: str) -> zmq.Socket[bytes]:
        """Make a socket that is bound.

        ConfigurationError: the address can't be bound.
        UnavailableError: the same, but it may pass, as a full disk does.
        """
        socket = self.socket(kind)
        if address.startswith("tcp:"):
            # A peer may vanish without a word; on ipc the kernel tells at once.
            socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
            socket.setsockopt(zmq.HEARTBEAT_TTL, 6000)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close()
            raise _unbound(address, error) from error
        self._bound.append(address)
        return socket

    def subscribe(self, name: str, addresses: Sequence[str]) -> zmq.Socket[bytes]:
        """Make a socket that is subscribed to all that is published at some addresses."""
        socket = self.socket(zmq.SUB)
        # Everything first, then the name: it tells that everything has been subscribed to.
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.setsockopt(zmq.SUBSCRIBE, name.encode())
        for address in addresses:
            socket.connect(address)
        return socket

    def close(self, linger_ms: int) -> None:
        """Close every socket that is still open, and remove the files of those that were bound."""
        # A socket that failed to connect has no owner; `term` would wait for it for ever.
        self._context.destroy(linger=linger_ms)
        # ZMQ leaves its socket files where they are. The next life can't have bound them yet: the
        # replica's lock is released after this.
        for address in self._bound:
            if address.startswith("ipc://"):
                Path(address.removeprefix("ipc://")).unlink(missing_ok=True)


def _unbound(address: str, error: zmq.ZMQError) -> ArroyoError:
    cause = OSError(error.errno, error.strerror)
    advice = "is another program using it? Change `listen` or end that program"
    if fault_of(cause) is UnavailableError:
        advice = "it is tried again"
    return fault_of(cause)(f"{address} can't be bound: {error.strerror}; {advice}")
