"""The way to a NATS server: its addresses, its secrets, a thread for its library, and its errors.

The library nats-py lives on an event loop; a session runs one in a thread of its own. It does not
let the library reconnect by itself: what was asked for and not answered before has to be asked
for again, so whoever uses the session has to know.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

from arroyo.errors import ConfigurationError, UnavailableError

try:
    import nats
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.errors import AuthorizationError, ConnectionClosedError, NoRespondersError
    from nats.js.errors import APIError, NoStreamResponseError, NotFoundError
except ModuleNotFoundError as error:
    raise ConfigurationError(
        'the NATS connector needs the package nats-py; install it: pip install "arroyo[nats]"'
    ) from error

__all__ = [
    "ANSWER_TIMEOUT_S",
    "FAILED",
    "FIRST_WAIT_S",
    "HEADER",
    "LONGEST_WAIT_S",
    "APIError",
    "Client",
    "ConnectionClosedError",
    "Msg",
    "NATSSession",
    "NoStreamResponseError",
    "NotFoundError",
    "Servers",
    "choose_servers",
    "passes",
]

HEADER = "arroyo"
"""Name of the NATS header that holds a message's own header."""

ANSWER_TIMEOUT_S = 5.0
"""A server that does not answer for so long is gone."""
PING_S = 5.0
"""A silent connection is tried so often; after two pings without an answer it is lost."""
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0
"""Waits between two attempts double from the one to the other, in s."""

FAILED = (nats.errors.Error, OSError, asyncio.TimeoutError)
"""What the library raises where something can't be done now, or at all."""

Servers = str | Sequence[str]

_Result = TypeVar("_Result")


def choose_servers(owner: str, servers: Servers) -> list[str]:
    """Return the addresses as a list.

    Raises
    ------
    ConfigurationError
        There is none, one is no address, or one holds a password.
    """
    addresses = [servers] if isinstance(servers, str) else list(servers)
    if not addresses:
        raise ConfigurationError(f"{owner}: servers is empty; expected nats://host:port")
    for address in addresses:
        try:
            parts = urlsplit(address)
            usable = parts.scheme in {"nats", "tls"} and parts.hostname and parts.port != 0
        except (ValueError, TypeError, AttributeError):
            usable = False
        if not usable:
            raise ConfigurationError(
                f"{owner}: servers has {address!r}; expected nats://host:port or tls://host:port"
            )
        # It would show in process lists and logs.
        if "@" in parts.netloc:
            raise ConfigurationError(
                f"{owner}: servers holds a user, password or token; give the name as user, put "
                "the secret into an environment variable and name that in password_env or token_env"
            )
    return addresses


class NATSSession:
    """One connection after another, and the loop that they live on.

    Parameters
    ----------
    servers
        What `choose_servers` has returned.
    user, password_env, token_env
        How to log in: a name, and the environment variables that hold the secrets.
    """

    def __init__(
        self,
        servers: Sequence[str],
        user: str | None = None,
        password_env: str | None = None,
        token_env: str | None = None,
    ) -> None:
        self.address = ", ".join(servers)
        self.at_loss: Callable[[], None] = lambda: None
        """Called, on the loop, when the connection is lost."""
        self._servers = list(servers)
        self._user = user
        self._password_env = password_env
        self._token_env = token_env
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._forbidden = ""

    @property
    def client(self) -> Client:
        """The library's client; where the connection is lost, its calls raise."""
        if self._client is None:
            raise ConnectionClosedError
        return self._client

    @property
    def is_connected(self) -> bool:
        """Whether the connection is there, as far as one knows."""
        return self._client is not None and self._client.is_connected

    def require_connection(self) -> None:
        """Raise where the connection is lost, as any request would."""
        if not self.is_connected:
            raise ConnectionClosedError

    def open(self) -> None:
        """Start the thread, and connect.

        Raises
        ------
        ConfigurationError
            A secret is wrong or missing.
        UnavailableError
            No server can be reached.
        """
        options: dict[str, Any] = {}
        if self._user is not None:
            options["user"] = self._user
        if self._password_env is not None:
            options["password"] = _read_secret("password_env", self._password_env)
        if self._token_env is not None:
            options["token"] = _read_secret("token_env", self._token_env)
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="nats", daemon=True)
        self._thread.start()
        try:
            with self.explained():
                self.connect()
        except BaseException:
            self.close()
            raise

    def connect(self) -> None:
        """Make a new connection in the place of the old one."""
        self._forbidden = ""
        self.call(self._connect())

    def close(self) -> None:
        """Close the connection, and end the thread."""
        if self._loop is None:
            return
        with suppress(*FAILED):
            self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = None

    def call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Carry something out on the loop, and return what it returns."""
        return self.begin(work).result()

    def begin(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        """Have something carried out on the loop; the future says when it is."""
        if self._loop is None:
            work.close()
            raise ConnectionClosedError
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the library raises within the block into errors that say what to do."""
        try:
            yield
        except FAILED as error:
            raise self._explain(error) from error

    def insist(
        self,
        work: Callable[[], _Result],
        retry_for_s: float,
        report_waiting: Callable[[], bool],
    ) -> _Result:
        """Carry something out, if need be again and again, with a new connection each time.

        It is given up after `retry_for_s`, and earlier where `report_waiting` says that the stage
        has been asked to stop. An attempt that failed may have had its effect all the same.
        """
        give_up_at = time.monotonic() + retry_for_s
        wait_s = FIRST_WAIT_S
        while True:
            try:
                if not self.is_connected:
                    self.connect()
                return work()
            except FAILED as error:
                late = time.monotonic() + wait_s > give_up_at
                if not passes(error) or report_waiting() or late:
                    raise
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _run(self) -> None:
        assert self._loop is not None
        self._loop.run_forever()

    async def _connect(self) -> None:
        await self._end()
        client = Client()
        try:
            await self._log_in(client)
        except BaseException:
            await client.close()
            raise
        self._client = client

    async def _log_in(self, client: Client) -> None:
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
            **self._options,
        )

    async def _end(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _report_loss(self) -> None:
        self.at_loss()

    async def _note_error(self, error: Exception) -> None:
        # What is not permitted is never answered; this is all that one hears.
        if "permissions violation" in str(error).lower():
            self._forbidden = str(error)

    def _explain(self, error: BaseException) -> ConfigurationError | UnavailableError:
        at = f"the NATS server at {self.address}"
        said = _text_of(error)
        if _is_refusal(error):
            return ConfigurationError(
                f"{at} refuses user, password or token ({said}); put the right secret into an "
                "environment variable and name it in password_env or token_env"
            )
        if self._forbidden:
            return ConfigurationError(f"{at} does not permit it: {self._forbidden}")
        if not passes(error):
            return ConfigurationError(f"{at} refuses: {said}")
        return UnavailableError(f"{at} {_state_of(error)}")


def passes(error: BaseException) -> bool:
    """Whether the same may work a little later."""
    if isinstance(error, NotFoundError | NoStreamResponseError):
        return True
    if isinstance(error, APIError):
        return error.code is None or error.code >= 500
    return not _is_refusal(error)


def _is_refusal(error: BaseException) -> bool:
    # While it connects, the library has no class for it.
    return isinstance(error, AuthorizationError) or "Authorization Violation" in str(error)


def _state_of(error: BaseException) -> str:
    """Say what the server can't do now, and what would let it."""
    said = _text_of(error)
    if isinstance(error, NoStreamResponseError):
        return (
            "has no stream that takes this subject; make one "
            "(nats stream add NAME --subjects SUBJECT), or mend the subject"
        )
    if isinstance(error, NotFoundError):
        return (
            f"has no such stream ({said}); make it (nats stream add NAME --subjects SUBJECT), "
            "or mend its name"
        )
    if isinstance(error, APIError) and error.description is None:
        return "has no JetStream just now; start it with -js, and permit JetStream to this account"
    if isinstance(error, APIError):
        return f"takes nothing now ({said}); make room on its disk, or raise the stream's limits"
    return f"can't be reached ({said}); start it, or mend the address"


def _text_of(error: BaseException) -> str:
    if isinstance(error, APIError):
        return error.description or "no answer"
    if isinstance(error, NoRespondersError):
        return "nobody answers"
    return str(error).removeprefix("nats: ") or "no answer"


def _read_secret(option: str, name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigurationError(
            f"{option} names the environment variable {name}, which is not set"
        ) from None
