"""The way to a Redis server: its address, its password, and what its errors mean."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
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

__all__ = [
    "ANSWER_TIMEOUT_S",
    "FIRST_WAIT_S",
    "LONGEST_WAIT_S",
    "LOST",
    "choose_url",
    "connect",
    "explained",
    "insist",
    "passes",
    "redis",
]

ANSWER_TIMEOUT_S = 5.0
"""A server that does not answer, or stops in the middle of a message, for so long is gone."""

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0
"""Waits between two attempts double from the one to the other, in s."""

LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
"""What a command raises when the server is gone. Beware: a wrong password is among these."""

_REMEDIES = {
    "MISCONF": "make room on its disk",
    "OOM": "raise its maxmemory, or let streams be trimmed",
    "READONLY": "give the address of the primary",
    "NOREPLICAS": "bring its replicas back",
    "BUSY": "end the script that it is running",
}
"""What passes when somebody has mended it, by the first word of the server's answer."""

_Result = TypeVar("_Result")


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
        if remedy := _remedy(error):
            raise UnavailableError(
                f"the Redis server at {address} takes nothing now ({error}); {remedy}"
            ) from error
        raise ConfigurationError(f"the Redis server at {address} refuses: {error}") from error


def passes(error: Exception) -> bool:
    """Whether the same command may work a little later."""
    if isinstance(error, redis.exceptions.AuthenticationError):
        return False
    return isinstance(error, LOST) or bool(_remedy(error))


def _remedy(error: Exception) -> str:
    # Of some answers the package makes a class and drops the word.
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return _REMEDIES["OOM"]
    if isinstance(error, redis.exceptions.ReadOnlyError):
        return _REMEDIES["READONLY"]
    return _REMEDIES.get(str(error).partition(" ")[0], "")


def insist(
    command: Callable[[], _Result], retry_for_s: float, report_waiting: Callable[[], bool]
) -> _Result:
    """Carry a command out, if need be again and again for `retry_for_s`.

    It is given up earlier where `report_waiting` says that the stage has been asked to stop. An
    attempt that failed may have had its effect all the same. What the last one raised is raised.
    """
    give_up_at = time.monotonic() + retry_for_s
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return command()
        except redis.exceptions.RedisError as error:
            late = time.monotonic() + wait_s > give_up_at
            if not passes(error) or report_waiting() or late:
                raise
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
