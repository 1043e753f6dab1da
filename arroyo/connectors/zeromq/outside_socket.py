"""A ZeroMQ socket that programs outside the chain connect to: its address and its limits."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket as system_socket
from collections.abc import Sequence
from pathlib import Path

import zmq

from arroyo.errors import ConfigurationError

SUBSCRIPTION_BYTES = 64 * 1024
"""Maximum size of a message to a sending socket, which receives nothing but subscriptions."""
HANDSHAKE_MS = 5_000
"""A peer that has not completed the handshake by then is disconnected, in ms."""

# TCP keepalive, not ZeroMQ's heartbeats: the firmware at the other end may not know those.
KEEPALIVE = ((zmq.TCP_KEEPALIVE, 1), (zmq.TCP_KEEPALIVE_IDLE, 10), (zmq.TCP_KEEPALIVE_INTVL, 5))

_TCP = re.compile(r"tcp://(?P<host>[^\s/]+):(?P<port>\d{1,5}|\*)", re.ASCII)
_IPC = re.compile(r"ipc://(?P<path>.+)")

_REASONS = {
    errno.EADDRINUSE: "another program has it; stop that one or choose another",
    errno.EADDRNOTAVAIL: "this machine has no such network; use an IP address of its own, or *",
    errno.ENODEV: "this machine has no such network; use an IP address of its own, or *",
    errno.EACCES: "this user may not; choose a port above 1023, or a folder of your own",
    errno.ENOENT: "the folder does not exist; make it first",
    errno.ENAMETOOLONG: "the path is too long for a socket; choose one of at most 100 bytes",
    errno.EINVAL: "it is no address; write tcp://host:port or ipc://path",
}


class OutsideSocket:
    """A socket with limits on what strangers may do. One thread opens, uses and closes it.

    Parameters
    ----------
    kind
        ``zmq.PULL``, ``zmq.SUB``, ``zmq.PUSH`` or ``zmq.PUB``.
    address
        As `choose_address` returns it.
    bind
        Bind there, or connect to it.
    high_water_mark
        Messages that may wait, per peer.
    max_message_bytes
        Larger frames end the connection that they came from.
    topics
        What a SUB socket subscribes to.
    """

    def __init__(
        self,
        kind: int,
        address: str,
        *,
        bind: bool,
        high_water_mark: int,
        max_message_bytes: int = SUBSCRIPTION_BYTES,
        topics: Sequence[str] = (),
    ) -> None:
        self.address = address
        self._kind = kind
        self._bind = bind
        self._high_water_mark = high_water_mark
        self._max_message_bytes = max_message_bytes
        self._topics = topics
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket itself, between `open()` and `close()`."""
        if self._socket is None:
            raise RuntimeError("the socket is used before open() or after close()")
        return self._socket

    @property
    def bound_address(self) -> str | None:
        """The address that no other program may use; None if this end connects, or takes any."""
        takes_any = self.address.endswith((":*", ":0", "ipc://*"))
        return self.address if self._bind and not takes_any else None

    def preflight(self) -> None:
        """Check that the address can be bound, without binding it; ConfigurationError if not."""
        if self.bound_address is None:
            return
        _refuse_taken_path(self.address)
        try:
            _try_to_bind(self.address)
        except OSError as error:
            raise _unusable(self.address, "bound", error.errno, error.strerror) from error

    def open(self) -> None:
        """Bind or connect; ConfigurationError if the address can't be used."""
        if self._bind:
            _refuse_taken_path(self.address)
        self._context = zmq.Context()
        self._socket = self._context.socket(self._kind)
        self._set_limits(self._socket)
        try:
            if self._bind:
                self._socket.bind(self.address)
                self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
            else:
                self._socket.connect(self.address)
        except zmq.ZMQError as error:
            self.close(linger_s=0.0)
            verb = "bound" if self._bind else "connected to"
            raise _unusable(self.address, verb, error.errno, error.strerror) from error

    def close(self, linger_s: float) -> None:
        """Close; wait up to `linger_s` until the queue is sent. May be called again."""
        socket, context = self._socket, self._context
        self._socket = self._context = None
        if socket is not None:
            socket.close(linger=round(linger_s * 1000))
        if context is not None:
            context.term()

    def _set_limits(self, socket: zmq.Socket[bytes]) -> None:
        socket.set_hwm(self._high_water_mark)
        socket.setsockopt(zmq.MAXMSGSIZE, self._max_message_bytes)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.IPV6, int("[" in self.address))
        for option, value in KEEPALIVE:
            socket.setsockopt(option, value)
        for topic in self._topics:
            socket.setsockopt_string(zmq.SUBSCRIBE, topic)


class OutsideStage:
    """What ZeroMQ's listeners and publishers share: an `OutsideSocket`."""

    _outside: OutsideSocket

    @property
    def address(self) -> str:
        """Address of the socket, after `open()` with the port that was bound."""
        return self._outside.address

    @property
    def bound_address(self) -> str | None:
        """As for `OutsideSocket`."""
        return self._outside.bound_address

    def preflight(self) -> None:
        """Check that the address can be bound, without binding it; ConfigurationError if not."""
        self._outside.preflight()

    def open(self) -> None:
        """Bind or connect; ConfigurationError if the address can't be used."""
        self._outside.open()


def choose_address(
    owner: str, address: str | None, host: str | None, port: int | None, *, bind: bool
) -> str:
    """Return the address that the options of `owner` give, as a whole or as host and port.

    ConfigurationError: they give it twice, not at all, or it is not valid.
    """
    if (address is None) == (port is None) or (address is not None and host is not None):
        raise ConfigurationError(
            f'{owner} needs either address = "tcp://127.0.0.1:5555" or port = 5555 (and host)'
        )
    if address is None:
        host = host or "127.0.0.1"
        address = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
    if _IPC.fullmatch(address):
        return address
    match = _TCP.fullmatch(address)
    if match is None:
        raise ConfigurationError(
            f"{owner}: {address!r} is no address; write tcp://host:port or ipc://path"
        )
    number = 0 if match["port"] == "*" else int(match["port"])
    if number > 65_535:
        raise ConfigurationError(f"{owner}: port {number} in {address!r} is beyond 65535")
    if not bind and (number == 0 or match["host"] == "*"):
        raise ConfigurationError(
            f"{owner} connects, so {address!r} must name a host and a port (bind = true binds)"
        )
    return address


def _refuse_taken_path(address: str) -> None:
    # libzmq takes an ipc path away from the program that has it, without telling either.
    match = _IPC.fullmatch(address)
    if match is None or match["path"].startswith(("@", "*")):
        return
    with (
        contextlib.suppress(OSError),
        system_socket.socket(system_socket.AF_UNIX, system_socket.SOCK_STREAM) as probe,
    ):
        probe.connect(match["path"])
        raise ConfigurationError(f"{address} can't be bound: {_REASONS[errno.EADDRINUSE]}")


def _try_to_bind(address: str) -> None:
    """Raise the OSError that binding `address` would raise, as far as that can be known."""
    if (match := _IPC.fullmatch(address)) is not None:
        folder = Path(match["path"]).parent
        if not match["path"].startswith("@") and not folder.is_dir():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    host = "" if host == "*" else host.strip("[]")
    try:
        family, kind, protocol, _, where = system_socket.getaddrinfo(
            host or None,
            int(port),
            type=system_socket.SOCK_STREAM,
            flags=system_socket.AI_PASSIVE,
        )[0]
    except system_socket.gaierror:
        return  # perhaps the name of a network, such as eth0, which ZeroMQ knows
    with system_socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(system_socket.SOL_SOCKET, system_socket.SO_REUSEADDR, 1)
        probe.bind(where)


def _unusable(
    address: str, verb: str, number: int | None, reason: str | None
) -> ConfigurationError:
    return ConfigurationError(f"{address} can't be {verb}: {_REASONS.get(number or 0, reason)}")
