"""`RequestServer`: how a supervisor answers requests.

Clients beyond the limit wait in the kernel's queue; a slow client holds them up only briefly. What
a client asked for that has given up meanwhile is not done any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from arroyo.errors import UsageError

from .requests import CLIENT_TIMEOUT_S, REQUEST_BYTES, Request

CLIENTS = 64
BACKLOG = 4096
"""Connections that may wait in the kernel; it may have a lower limit of its own."""
PLACE_S = 0.5
"""How long a client may take while others wait for its place."""
_UCRED = struct.Struct("iII")  # pid, uid, gid


class Asked(NamedTuple):
    """What an answer depends on."""

    target: str
    number: int
    by: str
    """Who asks, as the kernel says: ``pid 4711, uid 1000``."""
    values: Mapping[str, Any] = {}


Answers = Mapping[str, Callable[[Asked], Any]]
"""A function for each verb: it returns the reply, as JSON can hold it, or raises UsageError."""


class _Client:
    """One connection: reads a request, then writes the reply, without waiting."""

    def __init__(self, connection: socket.socket, since: float) -> None:
        self.connection = connection
        self.since = since
        self._received = b""
        self._reply = b""

    def proceed(self, answers: Answers) -> bool:
        """Read and write what is possible now; return False once the connection is done."""
        try:
            if not self._reply and not self._read(answers):
                return False
            if self._reply:
                self._reply = self._reply[self.connection.send(self._reply) :]
                return bool(self._reply)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def _read(self, answers: Answers) -> bool:
        data = self.connection.recv(REQUEST_BYTES)
        self._received += data
        if b"\n" in self._received:
            if _has_hung_up(self.connection):
                return False
            pid, uid = _peer(self.connection)
            line = self._received.partition(b"\n")[0]
            reply = _answer(line, answers, f"pid {pid}, uid {uid}")
            self._reply = msgspec.json.encode(reply) + b"\n"
        return bool(data) and len(self._received) <= REQUEST_BYTES

    @property
    def interest(self) -> int:
        """Events of the selector that it waits for."""
        return selectors.EVENT_WRITE if self._reply else selectors.EVENT_READ


def _answer(line: bytes, answers: Answers, by: str) -> dict[str, Any]:
    try:
        asked = msgspec.json.decode(line, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return {"error": f"this is not a request: {error}"}
    if asked.verb not in answers:
        known = ", ".join(sorted(answers))
        return {"error": f"there is no verb {asked.verb!r}; there are {known}"}
    try:
        return {"reply": answers[asked.verb](Asked(asked.target, asked.number, by, asked.values))}
    except UsageError as error:
        return {"error": str(error)}


class RequestServer:
    """The answering end, for a loop around a selector.

    Parameters
    ----------
    path
        Where the socket is; that of a predecessor that was killed is replaced. The caller holds a
        lock, so there is no other server.
    selector
        Gets the descriptors. The data of each is a function without arguments, which the loop calls
        when the descriptor is ready.
    """

    def __init__(
        self,
        path: Path,
        selector: selectors.BaseSelector,
        answers: Answers,
        monotonic: Callable[[], float],
    ) -> None:
        self._path = path
        self._selector = selector
        self._answers = answers
        self._monotonic = monotonic
        self._clients: list[_Client] = []
        """Oldest first."""
        self._listens = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.setblocking(False)
            path.unlink(missing_ok=True)
            self._listener.bind(os.fspath(path))
            path.chmod(0o600)
            self._listener.listen(BACKLOG)
        except OSError:
            self._listener.close()
            raise
        self._reserve = os.open(os.devnull, os.O_RDONLY)
        self._listen()

    @property
    def next_at(self) -> float | None:
        """When `expire` has something to do, in s (monotonic)."""
        return self._clients[0].since + self._patience_s if self._clients else None

    @property
    def _patience_s(self) -> float:
        return CLIENT_TIMEOUT_S if self._listens else PLACE_S

    def expire(self) -> None:
        """Disconnect clients that took too long."""
        now = self._monotonic()
        while self._clients and self._clients[0].since + self._patience_s <= now:
            self._drop(self._clients[0])

    def close(self) -> None:
        """Stop answering and remove the socket's path."""
        for client in list(self._clients):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        os.close(self._reserve)
        self._path.unlink(missing_ok=True)

    def _listen(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._listens = True

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                self._refuse()
            return
        connection.setblocking(False)
        if not _is_trusted(connection):
            connection.close()
            return
        client = _Client(connection, self._monotonic())
        self._clients.append(client)
        self._selector.register(connection, client.interest, lambda: self._serve(client))
        if len(self._clients) == CLIENTS:
            self._selector.unregister(self._listener)
            self._listens = False

    def _refuse(self) -> None:
        """Turn a client away when descriptors have run out, or it would wake us for ever."""
        os.close(self._reserve)
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        self._reserve = os.open(os.devnull, os.O_RDONLY)

    def _serve(self, client: _Client) -> None:
        if not client.proceed(self._answers):
            self._drop(client)
            return
        serve = self._selector.get_key(client.connection).data
        self._selector.modify(client.connection, client.interest, serve)

    def _drop(self, client: _Client) -> None:
        self._clients.remove(client)
        self._selector.unregister(client.connection)
        client.connection.close()
        if not self._listens:
            self._listen()


def _is_trusted(connection: socket.socket) -> bool:
    return _peer(connection)[1] in (0, os.geteuid())


def _has_hung_up(connection: socket.socket) -> bool:
    """Return True if the client has gone: it gave up, so its order must not be carried out late."""
    poll = select.poll()
    poll.register(connection, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Return the pid and the uid of the client."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(found)
    return pid, uid
