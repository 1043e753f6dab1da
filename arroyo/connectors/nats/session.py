"""`NATSSession`: the connection to a NATS server, its login, and the library's event loop.

The library, nats-py, needs an event loop; a session runs one in a thread of its own. The library
may not reconnect by itself: requests that were not answered have to be repeated, so whoever uses a
session has to know of each loss.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.errors import ConnectionClosedError

from arroyo.connectors.retrying import RetriedServer
from arroyo.connectors.server_urls import read_secret
from arroyo.errors import ConfigurationError, UnavailableError

from .client import FAILED, Servers, check_servers, explain

PING_S = 5.0
"""Interval of pings on a silent connection; after two without an answer it is lost."""
CLOSE_S = 1.0
"""Maximum time to close a connection, in s."""

_Result = TypeVar("_Result")


class _Client(Client):
    """Takes a message whose headers it can't read without them.

    nats-py would end the connection, and the next one would get the message again, for ever.
    """

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (IndexError, ValueError):
            return None


class NATSSession(RetriedServer):
    """One connection after another, and the event loop that they live on.

    Parameters
    ----------
    owner
        Class whose options these are, for error messages.
    servers
        ``nats://`` or ``tls://`` addresses of one cluster.
    user, password_env, token_env
        How to log in: a name, and environment variables that hold the secrets.

    Raises
    ------
    ConfigurationError
        There is no address, one is not valid, or one holds a secret.
    """

    failed = FAILED

    def __init__(
        self,
        owner: str,
        servers: Servers,
        *,
        user: str | None = None,
        password_env: str | None = None,
        token_env: str | None = None,
    ) -> None:
        self._servers = check_servers(owner, servers)
        self.address = ", ".join(self._servers)
        self.at_loss: Callable[[], None] = lambda: None
        """Called, on the loop, when the connection is lost."""
        self._user = user
        self._secrets = {"password": password_env, "token": token_env}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._forbidden = ""

    @property
    def client(self) -> Client:
        """The library's client. Its calls raise after the connection was lost."""
        if self._client is None:
            raise ConnectionClosedError
        return self._client

    @property
    def is_connected(self) -> bool:
        """Whether the connection is up, as far as the library knows."""
        return self._client is not None and self._client.is_connected

    def require_connection(self) -> None:
        """Raise ConnectionClosedError if the connection is lost, as any request would."""
        if not self.is_connected:
            raise ConnectionClosedError

    def open(self) -> None:
        """Start the thread, and connect.

        ConfigurationError: a secret is wrong or missing.
        UnavailableError: no server can be reached.
        """
        self._login: dict[str, Any] = {} if self._user is None else {"user": self._user}
        for kind, variable in self._secrets.items():
            if variable is not None:
                self._login[kind] = read_secret(f"{kind}_env", variable)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nats", daemon=True)
        self._thread.start()
        with ExitStack() as failing:
            failing.callback(self.close)
            with self.explained():
                self.connect()
            failing.pop_all()

    def connect(self) -> None:
        """Replace the connection by a new one."""
        self._forbidden = ""
        self.call(self._connect())

    def close(self) -> None:
        """Close the connection, and end the thread."""
        if self._loop is None:
            return
        with suppress(*FAILED):
            self.call(self._leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = None

    def call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine on the loop, and return what it returns."""
        return self.begin(work).result()

    def begin(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        """Start a coroutine on the loop."""
        if self._loop is None:
            work.close()
            raise ConnectionClosedError
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def insist(
        self,
        command: Callable[[], _Result],
        retry_for_s: float,
        report_waiting: Callable[[str], bool],
    ) -> _Result:
        """As for `RetriedServer`, with a new connection for each attempt that needs one."""

        def attempt() -> _Result:
            if not self.is_connected:
                self.connect()
            return command()

        return super().insist(attempt, retry_for_s, report_waiting)

    async def _connect(self) -> None:
        await self._end()
        client = _Client()
        async with AsyncExitStack() as failing:
            failing.push_async_callback(_close, client)
            await client.connect(
                self._servers,
                error_cb=self._note_error,
                closed_cb=self._report_loss,
                allow_reconnect=False,
                # Each server is tried, and then once more.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=2,
                ping_interval=int(PING_S),
                **self._login,
            )
            failing.pop_all()
        self._client = client

    async def _end(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    async def _leave(self) -> None:
        """End the connection, and what the library still has on the loop, which ends after it."""
        try:
            await self._end()
        finally:
            if left := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in left:
                    task.cancel()
                await asyncio.wait(left, timeout=CLOSE_S)

    async def _report_loss(self) -> None:
        self.at_loss()

    async def _note_error(self, error: Exception) -> None:
        # The server never answers a request that is not permitted; this is its only reaction.
        if "permissions violation" in str(error).lower():
            self._forbidden = str(error)

    def explain(self, error: BaseException) -> ConfigurationError | UnavailableError:
        """Return an error that says what an error of the library means, and what to do."""
        return explain(error, self.address, self._forbidden)


async def _close(client: Client) -> None:
    # After a handshake that failed the library waits for ever.
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await client.close()
