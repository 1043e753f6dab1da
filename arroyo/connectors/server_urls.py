"""Addresses of servers, and the secrets to log in there, which never stand in a chain file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from arroyo.errors import ConfigurationError


def check_url(owner: str, url: str, schemes: Sequence[str]) -> SplitResult:
    """Take the option `url` of `owner` apart.

    ConfigurationError: the scheme is none of `schemes`, host or port can't be read, or the URL
    holds a password, which process lists and logs would show. The text does not repeat the URL.
    """
    try:
        parts = urlsplit(url)
        check_port(owner, parts.port)
    except ValueError:  # its text may hold a part of a password
        raise ConfigurationError(
            f"{owner}: url has no valid host and port; expected HOST:PORT, PORT from 1 to 65535"
        ) from None
    if parts.scheme not in schemes:
        expected = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ConfigurationError(f"{owner}: url should begin with {expected}")
    if parts.password is not None or "password=" in parts.query:
        raise ConfigurationError(
            f"{owner}: url holds a password; put that into an environment variable "
            "and name the variable in password_env"
        )
    return parts


def check_port(owner: str, port: int | None) -> None:
    """Raise ConfigurationError unless `port` is None or from 1 to 65535."""
    if port is not None and not 1 <= port <= 65_535:
        raise ConfigurationError(f"{owner}: port is {port}; expected a number from 1 to 65535")


def read_secret(option: str, name: str) -> str:
    """Return the environment variable that an option names; ConfigurationError if it is not set."""
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigurationError(
            f"{option} names the environment variable {name}, which is not set"
        ) from None
