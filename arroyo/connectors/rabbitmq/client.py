"""A RabbitMQ server: address, login, TLS, and its errors in words."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import pika
from pika import exceptions

from arroyo.connectors.server_urls import check_url, read_secret
from arroyo.connectors.tls import explain_distrust
from arroyo.errors import ArroyoError, ConfigurationError, UnavailableError

HEADER = "header"
"""Entry of a message's headers that holds the outward header, as text."""

ANSWER_TIMEOUT_S = 5.0
"""A server that takes longer to accept a connection counts as away."""
HANDSHAKE_TIMEOUT_S = 15.0
"""The same for connection, TLS and login together; pika requires more than for each part."""

# This connector tells all that pika logs, in sentences.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class Server:
    """Address of a RabbitMQ server, and how to log in there.

    Parameters
    ----------
    owner
        Class whose options these are, for error messages.
    url
        ``amqp://user@host:port/vhost`` or ``amqps://``, without a password.
    password_env
        Name of the environment variable that holds the password.
    files
        For ``amqps``: certificate of the authority, certificate and key of this stage.

    Raises
    ------
    ConfigurationError
        The options contradict each other, or the address is not valid.
    """

    def __init__(
        self,
        owner: str,
        url: str,
        password_env: str | None,
        files: tuple[str | None, str | None, str | None],
    ) -> None:
        parts = check_url(owner, url, ("amqp", "amqps"))
        self._tls = parts.scheme == "amqps"
        if not self._tls and any(files):
            raise ConfigurationError(
                f"{owner}: ca_file, cert_file and key_file are for TLS; the url should begin "
                "with amqps://"
            )
        self._owner = owner
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (5671 if self._tls else 5672)
        self._user = unquote(parts.username or "guest")
        # "/%2F", "/" and nothing all mean the default virtual host.
        self._vhost = unquote(parts.path[1:]) or "/"
        self._password_env = password_env
        self._files = files
        name = f"[{self._host}]" if ":" in self._host else self._host
        self.address = f"{parts.scheme}://{name}:{self._port}"
        """The address without user and password, for messages."""

    def parameters(self) -> pika.ConnectionParameters:
        """Return pika's parameters; ConfigurationError if password or TLS files can't be read."""
        options: dict[str, Any] = {}
        if self._tls:
            options["ssl_options"] = pika.SSLOptions(self._tls_context(), self._host)
        return pika.ConnectionParameters(
            host=self._host,
            port=self._port,
            virtual_host=self._vhost,
            credentials=pika.PlainCredentials(self._user, self._password()),
            connection_attempts=1,  # the session makes further attempts
            socket_timeout=ANSWER_TIMEOUT_S,
            stack_timeout=HANDSHAKE_TIMEOUT_S,
            client_properties={"connection_name": f"arroyo {self._owner} (pid {os.getpid()})"},
            **options,
        )

    def _password(self) -> str:
        if self._password_env is None:
            return "guest"
        return read_secret("password_env", self._password_env)

    def _tls_context(self) -> ssl.SSLContext:
        ca_file, cert_file, key_file = self._files
        try:
            context = ssl.create_default_context(cafile=ca_file)
            if cert_file is not None:
                context.load_cert_chain(cert_file, key_file)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationError(
                f"{self._owner}: ca_file, cert_file or key_file can't be used: {error}"
            ) from error
        return context

    def explain(self, error: BaseException) -> ArroyoError:
        """Return an error that says what an error of pika means, and what to do."""
        if isinstance(error, ArroyoError):
            return error
        causes = list(_causes(error))
        at = f"the RabbitMQ server at {self.address}"
        for cause in causes:
            if _is_refused_login(cause):
                return ConfigurationError(
                    f"{at} refuses the user {self._user!r} or the password; put the right one "
                    "into an environment variable and name it in password_env"
                )
            if _is_refused_vhost(cause):
                return ConfigurationError(
                    f"{at} refuses the virtual host {self._vhost!r} to the user {self._user!r}: "
                    "make it, or name another one at the end of the url"
                )
            if distrust := explain_distrust(at, cause, "name that of its authority in ca_file"):
                return distrust
            if isinstance(cause, exceptions.ChannelClosedByBroker):
                return self._explain_refusal(cause.reply_code, cause.reply_text)
        reason = next((text for cause in causes if (text := str(cause))), type(error).__name__)
        return UnavailableError(f"{at} can't be reached ({reason}); start it, or mend the address")

    def _explain_refusal(self, code: int, text: str) -> ArroyoError:
        at = f"the RabbitMQ server at {self.address}"
        if code == 404:
            return UnavailableError(
                f"{at} has it not: {text}; make it there, or set declare so that this stage does"
            )
        if code == 405:
            return UnavailableError(f"{at} keeps it for another connection: {text}")
        if code == 403:
            return ConfigurationError(f"{at} does not permit it: {text}")
        if code == 406 and "timeout" in text:
            return UnavailableError(
                f"{at} has waited too long for an acknowledgement ({text}): the chain takes longer "
                "than the server's consumer_timeout for a message; make that longer there"
            )
        return ConfigurationError(
            f"{at} refuses: {text}; leave declare out, or mend what is there by hand"
        )


def require_choice(
    owner: str, option: str, value: str | None, choices: Sequence[str]
) -> str | None:
    """Return `value` if it is None or one of `choices`; ConfigurationError if not."""
    if value is None or value in choices:
        return value
    known = " or ".join(f'"{choice}"' for choice in choices)
    raise ConfigurationError(f"{owner}: {option} is {value!r}; expected {known}")


def _causes(error: BaseException) -> Sequence[BaseException]:
    """Return the innermost errors: pika wraps them into one another."""
    inner = getattr(error, "exceptions", None) or getattr(error, "exception", None)
    if inner is None and error.args and isinstance(error.args[0], BaseException):
        inner = error.args[0]
    if isinstance(inner, BaseException):
        inner = [inner]
    return [cause for each in inner for cause in _causes(each)] if inner else [error]


def _is_refused_login(error: BaseException) -> bool:
    # pika takes a server that dies at this moment for one that refuses the login.
    kinds = exceptions.ProbableAuthenticationError, exceptions.ConnectionClosedByBroker
    if isinstance(error, exceptions.AuthenticationError):
        return True
    return isinstance(error, kinds) and "ACCESS_REFUSED" in str(error)


def _is_refused_vhost(error: BaseException) -> bool:
    kinds = exceptions.ProbableAccessDeniedError, exceptions.ConnectionClosedByBroker
    return isinstance(error, kinds) and "NOT_ALLOWED" in str(error)
