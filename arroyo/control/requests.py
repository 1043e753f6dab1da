"""Request and reply over a unix socket: how commands talk to a running supervisor.

One connection carries one request (a line of JSON) and one reply (the same). The socket lies in
the chain's private directory with mode 0600, and the kernel vouches for the peer: our own user or
root, nobody else. A verb is a word out of a fixed set; none takes a command or a path. Sizes and
times are bounded. Clients beyond the bound wait in the kernel's queue, where a slow client holds
them up for a moment only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from arroyo.errors import UnavailableError, UsageError

REQUEST_BYTES = 4096
REPLY_BYTES = 4 * 1024 * 1024
CLIENTS = 64
BACKLOG = 4096
"""Connections that the kernel may hold until there is a place; it may cap that further."""
CLIENT_TIMEOUT_S = 5.0
PLACE_S = 0.5
"""A client keeps its place for so long even if others wait for one."""
ASK_AGAIN_S = 0.01
"""Pause of a client that found no place."""
_UCRED = struct.Struct("iII")  # pid, uid, gid


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What a client asks for."""

    verb: str


Answers = Mapping[str, Callable[[], Any]]
"""What each verb does; what it returns is the reply, as anything that JSON can hold."""


class _Client:
    """One connection: reads a request, then writes the reply, as far as the peer lets it."""

    def __init__(self, connection: socket.socket, since: float) -> None:
        self.connection = connection
        self.since = since
        self._received = b""
        self._reply = b""

    def proceed(self, answers: Answers) -> bool:
        """Do what can be done without waiting; return whether there is more to come."""
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
            reply = _answer(self._received.partition(b"\n")[0], answers)
            self._reply = msgspec.json.encode(reply) + b"\n"
        return bool(data) and len(self._received) <= REQUEST_BYTES

    @property
    def interest(self) -> int:
        """What to poll its connection for."""
        return selectors.EVENT_WRITE if self._reply else selectors.EVENT_READ


def _answer(line: bytes, answers: Answers) -> dict[str, Any]:
    try:
        verb = msgspec.json.decode(line, type=Request).verb
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {"error": f"this is not a request: {error}"}
    if verb not in answers:
        return {"error": f"there is no verb {verb!r}; there are {', '.join(sorted(answers))}"}
    return {"reply": answers[verb]()}


class RequestServer:
    """The answering end, part of a loop around a selector.

    Parameters
    ----------
    path
        Where the socket is; what a killed predecessor left there is replaced. The caller holds a
        lock that makes sure of there being one server.
    selector
        Gets the descriptors, each with a function without arguments as its data, which the loop
        calls when the descriptor is ready.
    answers
        What each verb does.
    monotonic
        The time, in s.
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
        """The oldest first."""
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
        """Turn a client away when there are no descriptors left: unheard, it would wake us on."""
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
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return _UCRED.unpack(found)[1] in (0, os.geteuid())


def request(path: Path, verb: str, timeout_s: float = CLIENT_TIMEOUT_S) -> Any:
    """Ask the supervisor at `path`; return its reply.

    Raises
    ------
    UnavailableError
        Nobody answers there, or not in time.
    UsageError
        It does not know the verb.
    """
    deadline = time.monotonic() + timeout_s
    try:
        while not (received := _try_request(path, verb, deadline)):
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


def _try_request(path: Path, verb: str, deadline: float) -> bytes:
    """Ask once; return the reply, or nothing where there was no place and the verb wasn't heard.

    That is safe to repeat: a client that was heard gets at least the beginning of its reply.
    """
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(deadline - time.monotonic(), ASK_AGAIN_S))
        try:
            connection.connect(os.fspath(path))
            connection.sendall(msgspec.json.encode(Request(verb)) + b"\n")
            while not received.endswith(b"\n") and len(received) <= REPLY_BYTES:
                data = connection.recv(1 << 16)
                if not data:
                    break
                received += data
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            if received:
                raise
    return bytes(received)
