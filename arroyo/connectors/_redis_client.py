"""The way to a Redis server: its address, its password, and what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from arroyo.errors import ConfigurationError, UnavailableError

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ModuleNotFoundError as error:
    raise ConfigurationError(
        'the Redis connector needs the package redis; install it: pip install "arroyo[redis]"'
    ) from error

__all__ = ["ANSWER_TIMEOUT_S", "LOST", "choose_url", "connect", "explained", "redis"]

ANSWER_TIMEOUT_S = 5.0
"""A server that does not answer, or stops in the middle of a message, for so long is gone."""

LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
"""What a command raises when the server is gone. Beware: a wrong password is among these."""


def choose_url(
    owner: str, url: str | None, host: str | None, port: int | None, db: int | None
) -> str:
    """Make one address of the options, which say it as a whole or as host, port and database.

    Raises
    ------
    ConfigurationError
        It is given twice, is no address, or holds a password.
    """
    if url is None:
        host = host or "127.0.0.1"
        _require_port(owner, port)
        name = f"[{host}]" if ":" in host else host
        return f"redis://{name}:{6379 if port is None else port}/{db or 0}"
    if (host, port, db) != (None, None, None):
        raise ConfigurationError(f"{owner} takes either url or host, port and db, not both")
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ConfigurationError(f"{owner}: url should begin with redis://, rediss:// or unix://")
    try:
        _require_port(owner, parts.port)
    except ValueError as error:  # no number, or beyond 65535
        raise ConfigurationError(f"{owner}: url has no port that can be: {error}") from error
    # It would show in process lists and logs.
    if parts.password is not None or "password=" in parts.query:
        raise ConfigurationError(
            f"{owner}: url holds a password; put that into an environment variable "
            "and name the variable in password_env"
        )
    return url


def _require_port(owner: str, port: int | None) -> None:
    if port is not None and not 1 <= port <= 65_535:
        raise ConfigurationError(f"{owner}: port is {port}; expected a number from 1 to 65535")


def connect(url: str, password_env: str | None) -> redis.Redis:
    """Connect to a server that answers.

    Raises
    ------
    ConfigurationError
        The password is wrong or missing, or there is no such database.
    UnavailableError
        The server can't be reached.
    """
    options: dict[str, Any] = {
        "socket_timeout": ANSWER_TIMEOUT_S,
        "socket_connect_timeout": ANSWER_TIMEOUT_S,
        # Attempts are made in one place, here, and none behind it.
        "retry": Retry(NoBackoff(), 0),
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    if password_env is not None:
        options["password"] = _read_password(password_env)
    try:
        client = redis.Redis.from_url(url, **options)
    except ValueError as error:
        raise ConfigurationError(f"{url} is no address of a Redis server: {error}") from error
    try:
        with explained(url):
            client.ping()
    except (ConfigurationError, UnavailableError):
        client.close()
        raise
    return client


def _read_password(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigurationError(
            f"password_env names the environment variable {name}, which is not set"
        ) from None


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn what redis raises within the block into errors that say what to do."""
    try:
        yield
    except redis.exceptions.AuthenticationError as error:
        raise ConfigurationError(
            f"the Redis server at {address} refuses the password ({error}); "
            "put the right one into an environment variable and name it in password_env"
        ) from error
    except LOST as error:
        raise UnavailableError(
            f"the Redis server at {address} can't be reached ({error}); "
            "start it, or mend the address"
        ) from error
    except redis.exceptions.ResponseError as error:
        raise ConfigurationError(f"the Redis server at {address} refuses: {error}") from error
