"""NATS servers: addresses, the library, and its errors in words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import nats
from nats.errors import AuthorizationError, NoRespondersError
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from arroyo.connectors.tls import explain_distrust
from arroyo.errors import ConfigurationError, UnavailableError

HEADER = "arroyo"
"""Name of the NATS header that holds a message's own header."""

ANSWER_TIMEOUT_S = 5.0
"""A server that does not answer for so long counts as away."""
FAILED = (nats.errors.Error, OSError, asyncio.TimeoutError)
"""What the library raises when a request fails."""

Servers = str | Sequence[str]


class UnconfirmedError(nats.errors.Error):
    """The server is there, but the stream does not confirm what is published."""


def check_servers(owner: str, servers: Servers) -> list[str]:
    """Return the addresses as a list; ConfigurationError if one is not valid or holds a secret."""
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
        if "@" in parts.netloc:  # process lists and logs would show it
            raise ConfigurationError(
                f"{owner}: servers holds a user, password or token; give the name as user, put "
                "the secret into an environment variable and name that in password_env or token_env"
            )
    return addresses


def explain(
    error: BaseException, address: str, forbidden: str
) -> ConfigurationError | UnavailableError:
    """Return an error that says what an error of the library means, and what to do.

    `forbidden`: what the server has said about a permission, if anything.
    """
    at = f"the NATS server at {address}"
    said = _text_of(error)
    if _is_refusal(error):
        return ConfigurationError(
            f"{at} refuses user, password or token ({said}); put the right secret into an "
            "environment variable and name it in password_env or token_env"
        )
    trust = "name that of its authority in the environment variable SSL_CERT_FILE"
    if distrust := explain_distrust(at, error, trust):
        return distrust
    if forbidden:
        return ConfigurationError(f"{at} does not permit it: {forbidden}")
    if isinstance(error, APIError) and (error.code or 500) < 500 and not _lacks_stream(error):
        return ConfigurationError(f"{at} refuses: {said}")
    return UnavailableError(f"{at} {_state_of(error)}")


def _lacks_stream(error: BaseException) -> bool:
    return isinstance(error, NotFoundError | NoStreamResponseError)


def _is_refusal(error: BaseException) -> bool:
    # The library has no class for a refusal while it connects.
    return isinstance(error, AuthorizationError) or "Authorization Violation" in str(error)


def _state_of(error: BaseException) -> str:
    """Return what is wrong at the server, and how to mend it."""
    said = _text_of(error)
    make = "nats stream add NAME --subjects SUBJECT"
    if isinstance(error, NoStreamResponseError):
        return f"has no stream that takes this subject; make one ({make}), or mend the subject"
    if isinstance(error, NotFoundError):
        return f"has no such stream ({said}); make it ({make}), or mend its name"
    if isinstance(error, APIError) and error.description is None:
        return "has no JetStream just now; start it with -js, and permit JetStream to this account"
    if isinstance(error, APIError):
        return f"takes nothing now ({said}); make room on its disk, or raise the stream's limits"
    if isinstance(error, UnconfirmedError):
        return (
            "confirms nothing that is published, and its log says why; if its disk is full, make "
            "room there and start it anew"
        )
    return f"can't be reached ({said}); start it, or mend the address"


def _text_of(error: BaseException) -> str:
    if isinstance(error, APIError):
        return error.description or "no answer"
    if isinstance(error, NoRespondersError):
        return "nobody answers"
    return str(error).removeprefix("nats: ") or "no answer"
