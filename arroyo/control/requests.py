"""Request and reply over a unix socket: how commands talk to a running supervisor.

A connection carries one request and one reply, each a line of JSON. The socket is in the chain's
private directory, with mode 0600, and the kernel vouches for the peer: our own user or root. A verb
is one of a fixed set; none takes a command or a path. Sizes, times and the number of clients have
limits. Clients beyond that wait in the kernel's queue; a slow client holds them up only briefly.
What a client asked for that has given up meanwhile is not done any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from arroyo.errors import UnavailableError, UsageError

REQUEST_BYTES = 4096
REPLY_BYTES = 4 * 1024 * 1024
CLIENTS = 64
BACKLOG = 4096
"""Connections that may wait in the kernel; it may have a lower limit of its own."""
CLIENT_TIMEOUT_S = 5.0
PLACE_S = 0.5
"""How long a client may take while others wait for its place."""
ASK_AGAIN_S = 0.01
"""Pause of a client that found no place."""
TARGET_CHARACTERS = 80
"""Longest name of a replica, and more."""
NUMBER_MAX = 1024
_UCRED = struct.Struct("iII")  # pid, uid, gid


class Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A client's request."""

    verb: str
    target: Annotated[str, msgspec.Meta(max_length=TARGET_CHARACTERS)] = ""
    """Stage, or ``STAGE.R``, that it is about; empty: the whole chain."""
    number: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)] = 0
    """How many processes of a stage are wanted, where that is asked for."""
    values: dict[str, Any] = {}
    """Values that parameters of a stage are to have, where that is asked for."""


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


def request(
    path: Path,
    verb: str,
    target: str = "",
    number: int = 0,
    *,
    values: Mapping[str, Any] | None = None,
    timeout_s: float = CLIENT_TIMEOUT_S,
) -> Any:
    """Ask the supervisor at `path`; return its reply.

    UnavailableError: there is no answer, or not in time.
    UsageError: it does not know the verb or the target, or refuses; or the request is too long, or
    no text.
    """
    try:
        line = msgspec.json.encode(Request(verb, target, number, dict(values or {}))) + b"\n"
    except UnicodeEncodeError as error:
        raise UsageError(f"found {error.object!r}, which is not UTF-8 text") from error
    if len(line) > REQUEST_BYTES:
        raise UsageError(f"found {len(line):,} bytes in one request, expected {REQUEST_BYTES:,}")
    deadline = time.monotonic() + timeout_s
    try:
        while not (received := _try_request(path, line, deadline)):
            if time.monotonic() >= deadline:
                raise TimeoutError("too many others ask at the same time")
            time.sleep(ASK_AGAIN_S)
        reply = msgspec.json.decode(received, type=dict[str, Any])
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise UnavailableError(f"no supervisor answers at {path}; is the chain running?") from error
    except (OSError, msgspec.DecodeError) as error:
        raise UnavailableError(
            f"the supervisor at {path} gave no answer to {verb!r} ({error}); try again"
        ) from error
    if "error" in reply:
        raise UsageError(f"the supervisor at {path} refused {verb!r}: {reply['error']}")
    return reply["reply"]


def _try_request(path: Path, line: bytes, deadline: float) -> bytes:
    """Ask once; return the reply, or nothing where the server had no place for the request.

    Asking again is safe then: a request that was read gets at least the beginning of its reply.
    """
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(deadline - time.monotonic(), ASK_AGAIN_S))
        try:
            connection.connect(os.fspath(path))
            connection.sendall(line)
            while not received.endswith(b"\n") and len(received) <= REPLY_BYTES:
                data = connection.recv(1 << 16)
                if not data:
                    break
                received += data
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            if received:
                raise
    return bytes(received)
