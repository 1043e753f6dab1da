"""`HttpServer`: takes requests, and says what an answering function has to say.

Nothing that a client does lasts: a request has a size, reading and writing have their time, and of
too many clients the oldest is sent away. A stream lasts for as long as its client takes what comes;
of too many streams the last one is refused.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import aclosing
from http import HTTPStatus
from typing import TypeAlias

from arroyo.config.http_address import HttpAddress
from arroyo.errors import ArroyoError, ConfigurationError, UnavailableError

from .http_request import (
    END,
    HEAD_BYTES,
    ORDERING,
    READING,
    Answer,
    Later,
    Request,
    Stream,
    parse_request,
    refuse_host,
    render,
    render_head,
)

CLIENTS = 32
STREAMS = 32
CLIENT_TIMEOUT_S = 5.0
_TOO_LONG = Answer.refusing(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request has {HEAD_BYTES} bytes at most"
)
_DEFECT = Answer.refusing(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "this is a defect of Arroyo; the output or the log of this server has its traceback",
)

Answering: TypeAlias = Callable[[Request], Answer | Later | Stream]
"""Called in another thread, for one request at a time."""


class HttpServer:
    """Serves on one address.

    `takes_orders`: also requests with the method POST.
    `client_timeout_s`: how long a request may take to come, and an answer to be taken.
    `streams`: how many there may be at a time.
    """

    def __init__(
        self,
        address: HttpAddress,
        answering: Answering,
        *,
        takes_orders: bool = False,
        client_timeout_s: float = CLIENT_TIMEOUT_S,
        streams: int = STREAMS,
    ) -> None:
        self._address = address
        self._answering = answering
        self._client_timeout_s = client_timeout_s
        self._streams_max = streams
        self._methods = ORDERING if takes_orders else READING
        self._names = {"localhost", socket.gethostname().lower(), address.host.lower()}
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        """Oldest first; without those of streams."""
        self._streams: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._has_ended = False
        self._turn = asyncio.Lock()

    async def run(self, until: asyncio.Event, listening: Callable[[HttpAddress], None]) -> None:
        """Serve until the event; `listening` is called with the address, once there is one.

        Raises
        ------
        ConfigurationError
            There is no such address on this host, or it is not for this user.
        UnavailableError
            Another program has it.
        """
        try:
            host, port = self._address
            server = await asyncio.start_server(self._take, host, port, limit=HEAD_BYTES)
        except OSError as error:
            raise self._unusable(error) from error
        listening(HttpAddress(host, server.sockets[0].getsockname()[1]))
        try:
            await until.wait()
        finally:
            await _close(server)
            self._has_ended = True
            clients = self._clients | self._streams
            for writer in clients:
                writer.transport.abort()
            for task in self._streams.values():
                task.cancel()  # it may be waiting for what is to be sent next
            await asyncio.gather(*clients.values())

    def _unusable(self, error: OSError) -> ArroyoError:
        if error.errno == errno.EADDRINUSE:
            return UnavailableError(
                f"{self._address} is in use by another program; name another port, or end that one"
            )
        reason = error.strerror
        if error.errno is not None and not isinstance(error, socket.gaierror):
            reason = os.strerror(error.errno)  # asyncio's own text repeats the address
        return ConfigurationError(f"{self._address} can't be listened on: {reason}")

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: one that has not begun when the loop ends would leave the client open.
        if self._has_ended:
            writer.transport.abort()
            return
        self._clients[writer] = asyncio.create_task(self._serve(reader, writer))
        if len(self._clients) > CLIENTS:
            next(iter(self._clients)).transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._exchange(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # it has gone, was sent away, or is too slow; or the server ends
        finally:
            self._clients.pop(writer, None)
            self._streams.pop(writer, None)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await self._receive(reader)
        answer = request if isinstance(request, Answer) else await self._answer(request)
        has_body = isinstance(request, Answer) or request.method != "HEAD"
        if isinstance(answer, Stream):
            if has_body and len(self._streams) < self._streams_max:
                await self._stream(writer, answer)
                return
            answer = self._too_many if has_body else Answer(HTTPStatus.OK, b"", answer.content_type)
        async with asyncio.timeout(self._client_timeout_s):
            writer.write(render(answer, body=has_body))
            writer.close()
            await writer.wait_closed()

    @property
    def _too_many(self) -> Answer:
        return Answer.refusing(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{self._streams_max} pages are open already; close one of them",
        )

    async def _receive(self, reader: asyncio.StreamReader) -> Request | Answer:
        """Return a request with its body; the answer, if it is refused."""
        async with asyncio.timeout(self._client_timeout_s):
            try:
                request = parse_request(await reader.readuntil(END), self._methods)
            except asyncio.LimitOverrunError:
                return _TOO_LONG
            if isinstance(request, Request) and request.body_bytes:
                return request._replace(body=await reader.readexactly(request.body_bytes))
            return request

    async def _stream(self, writer: asyncio.StreamWriter, stream: Stream) -> None:
        self._streams[writer] = self._clients.pop(writer)
        writer.transport.set_write_buffer_limits(0)
        given_ms = round(self._client_timeout_s * 1000)  # to one that reads nothing, or is gone
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, given_ms)
        writer.write(render_head(stream))
        async with aclosing(stream.chunks()) as chunks:
            async for chunk in chunks:
                writer.write(chunk)
                async with asyncio.timeout(self._client_timeout_s):
                    await writer.drain()

    async def _answer(self, request: Request) -> Answer | Stream:
        if refusal := refuse_host(request.host, self._names):
            return refusal
        try:
            async with self._turn:
                answer = await asyncio.to_thread(self._answering, request)
            return await answer.answer() if isinstance(answer, Later) else answer
        except Exception as error:  # noqa: BLE001  (an OSError would look like a client that has gone)
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{request.path} can't be answered", "exception": error}
            )
            return _DEFECT


async def _close(server: asyncio.Server) -> None:
    """Close a server, once whoever it has just accepted is its client.

    asyncio would leave such a connection open for good.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    server.close()
