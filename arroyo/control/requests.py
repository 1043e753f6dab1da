"""Request and reply over a unix socket: how commands talk to a running supervisor.

A connection carries one request and one reply, each a line of JSON. The socket is in the chain's
private directory, with mode 0600, and the kernel vouches for the peer: our own user or root. A verb
is one of a fixed set; none takes a command or a path. Sizes, times and the number of clients have
limits. The supervisor's end is in `request_server`.
"""

from __future__ import annotations

import os
import shlex
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from arroyo.errors import UnavailableError, UsageError

REQUEST_BYTES = 4096
REPLY_BYTES = 4 * 1024 * 1024
CLIENT_TIMEOUT_S = 5.0
ASK_AGAIN_S = 0.01
"""Pause of a client that found no place."""
TARGET_CHARACTERS = 80
"""Longest name of a replica, and more."""
NUMBER_MAX = 1024


class Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A client's request."""

    verb: str
    target: Annotated[str, msgspec.Meta(max_length=TARGET_CHARACTERS)] = ""
    """Stage, or ``STAGE.R``, that it is about; empty: the whole chain."""
    number: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)] = 0
    """How many processes of a stage are wanted, where that is asked for."""
    values: dict[str, Any] = {}
    """Values that parameters of a stage are to have, where that is asked for."""


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
    except (OSError, msgspec.DecodeError) as error:
        if isinstance(error, ConnectionRefusedError) or not path.exists():
            raise UnavailableError(
                "no supervisor answers: it starts or ends just now; try again"
            ) from error
        raise UnavailableError(
            f"the supervisor gave no answer to {verb!r} ({error}); try again"
        ) from error
    if "error" in reply:
        raise UsageError(reply["error"])
    return reply["reply"]


def not_running(chain: str, file: Path | None) -> UnavailableError:
    """Return the error of a chain that does not run; it says how to start it from its file."""
    start = f"; start it with: arroyo-supervise {shlex.quote(str(file))}" if file else ""
    return UnavailableError(f"chain {chain} does not run{start}")


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
