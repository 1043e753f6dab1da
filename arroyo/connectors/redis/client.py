"""The connection to a Redis server: address, login, and errors in words."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from arroyo.connectors.retrying import RetriedServer
from arroyo.connectors.server_urls import check_port, check_url, read_secret
from arroyo.connectors.tls import explain_distrust
from arroyo.errors import ArroyoError, ConfigurationError, UnavailableError

ANSWER_TIMEOUT_S = 5.0
"""A server that sends nothing for so long, or stops in the middle of a message, counts as away."""

LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
"""What a command raises when the server is away. Beware: a wrong password is among these."""

_REMEDIES = {
    "MISCONF": "make room on its disk",
    "OOM": "raise its maxmemory, or let streams be trimmed",
    "READONLY": "give the address of the primary",
    "NOREPLICAS": "bring its replicas back",
    "BUSY": "end the script that it is running",
}
"""How to mend what the server refuses for now, by the first word of its answer."""


class RedisServer(RetriedServer):
    """A Redis server, and the connection to it between `connect()` and `close()`.

    Parameters
    ----------
    owner
        Class whose options these are, for error messages.
    url, host, port, db
        The address: as a whole, or in parts.
    password_env
        Environment variable that holds the password.

    Raises
    ------
    ConfigurationError
        The address is given twice, is not valid, or holds a password.
    """

    failed = (redis.exceptions.RedisError,)

    def __init__(
        self,
        owner: str,
        url: str | None,
        host: str | None,
        port: int | None,
        db: int | None,
        *,
        password_env: str | None,
    ) -> None:
        if url is None:
            check_port(owner, port)
            host = host or "127.0.0.1"
            name = f"[{host}]" if ":" in host else host
            url = f"redis://{name}:{port or 6379}/{db or 0}"
        elif (host, port, db) != (None, None, None):
            raise ConfigurationError(f"{owner} takes either url or host, port and db, not both")
        else:
            check_url(owner, url, ("redis", "rediss", "unix"))
        self.address = url
        self._password_env = password_env
        self._client: redis.Redis | None = None

    @property
    def client(self) -> redis.Redis:
        """The library's client."""
        if self._client is None:
            raise RuntimeError("the Redis server is used before open() or after close()")
        return self._client

    def connect(self) -> None:
        """Connect, and wait for an answer.

        ConfigurationError: the password is wrong or missing, or there is no such database.
        UnavailableError: the server can't be reached.
        """
        options: dict[str, Any] = {
            "socket_timeout": ANSWER_TIMEOUT_S,
            "socket_connect_timeout": ANSWER_TIMEOUT_S,
            "retry": Retry(NoBackoff(), 0),  # `insist` tries again, and nothing below it
        }
        if not self.address.startswith("unix:"):
            options["socket_keepalive"] = True
        if self.address.startswith("rediss:"):
            options["ssl_check_hostname"] = True  # off by default before redis-py 6
        if self._password_env is not None:
            options["password"] = read_secret("password_env", self._password_env)
        try:
            self._client = redis.Redis.from_url(self.address, **options)
        except ValueError as error:
            raise ConfigurationError(
                f"{self.address} is no address of a Redis server: {error}"
            ) from error
        try:
            with self.explained():
                self._client.ping()
        except (ConfigurationError, UnavailableError):
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def explain(self, error: BaseException) -> ArroyoError:
        """Return an error that says what an error of redis means, and what to do."""
        at = f"the Redis server at {self.address}"
        if isinstance(error, redis.exceptions.AuthenticationError):
            return ConfigurationError(
                f"{at} refuses the password ({error}); "
                "put the right one into an environment variable and name it in password_env"
            )
        if isinstance(error, LOST):
            trust = "name that of its authority in the environment variable SSL_CERT_FILE"
            return explain_distrust(at, error, trust) or UnavailableError(
                f"{at} can't be reached ({error}); start it, or mend the address"
            )
        if remedy := _remedy(error):
            return UnavailableError(f"{at} takes nothing now ({error}); {remedy}")
        return ConfigurationError(f"{at} refuses: {error}")


def _remedy(error: BaseException) -> str:
    # redis-py makes classes of some answers and drops their first word.
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return _REMEDIES["OOM"]
    if isinstance(error, redis.exceptions.ReadOnlyError):
        return _REMEDIES["READONLY"]
    return _REMEDIES.get(str(error).partition(" ")[0], "")
