"""The way to Kafka servers: addresses, passwords, what librdkafka is told, what its errors mean."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arroyo.errors import ArroyoError, ConfigurationError, UnavailableError

try:
    import confluent_kafka
    from confluent_kafka import KafkaError, KafkaException
except ModuleNotFoundError as error:
    raise ConfigurationError(
        "the Kafka connector needs the package confluent-kafka; install it: "
        'pip install "arroyo[kafka]"'
    ) from error

__all__ = ["HEADER", "MISSING", "KafkaError", "KafkaException", "Servers", "confluent_kafka"]

HEADER = "header"
"""Name of the record header that holds the outward header."""

ANSWER_TIMEOUT_S = 5.0
"""Servers that take longer to say which topics they have are away."""
LOOK_S = 0.5
"""How often a wait for that answer looks whether they refuse the password."""

MESSAGE_BYTES_MAX = 1_000_000_000
"""The most that librdkafka allows; what a topic takes is the servers' own to say."""

_PASSED_ON = ("security.protocol", "sasl.", "ssl.", "enable.ssl.", "https.ca.")
_SECRETS = ("sasl.password", "ssl.key.password", "ssl.keystore.password")

_log = logging.getLogger(__name__)


class Servers:
    """Where the Kafka servers are, and how to log in there.

    Parameters
    ----------
    owner
        Class whose options these are, for error messages.
    servers
        ``host:port``, one or several, of which one has to answer.
    security
        Settings of librdkafka for TLS and SASL.
    password_env
        Name of the environment variable that holds the password.

    Raises
    ------
    ConfigurationError
        The options contradict each other, or are no addresses.
    """

    def __init__(
        self,
        owner: str,
        servers: str | Sequence[str],
        security: Mapping[str, Any] | None,
        password_env: str | None,
    ) -> None:
        self._owner = owner
        named = servers.split(",") if isinstance(servers, str) else list(servers)
        self.address = ",".join(self._require_address(name) for name in named)
        """Where the servers are, for people."""
        if not self.address:
            raise ConfigurationError(f'{owner}: servers is empty; name one: "host:9092"')
        self._security = dict(security or {})
        for key in self._security:
            if not key.startswith(_PASSED_ON):
                raise ConfigurationError(
                    f"{owner}: security.{key!r} is none of Kafka's settings for TLS and SASL; "
                    "they begin with 'security.protocol', 'sasl.' or 'ssl.'"
                )
        self._password_env = password_env
        if password_env is not None and "sasl.password" in self._security:
            raise ConfigurationError(
                f"{owner} takes the password either from password_env or from security, not both"
            )
        self.is_dead = False
        """Whether librdkafka has said that its producer can't go on."""
        self._refusal: ArroyoError | None = None
        self._away_since: float | None = None

    def _require_address(self, name: str) -> str:
        host, colon, port = name.strip().rpartition(":")
        if not colon or not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
            raise ConfigurationError(
                f"{self._owner}: servers has {name.strip()!r}; "
                'expected "host:port", or a list of them'
            )
        return name.strip()

    # What librdkafka is told

    def settings(self) -> dict[str, Any]:
        """Return what librdkafka needs to connect.

        Raises
        ------
        ConfigurationError
            The password is not set.
        """
        settings = {
            "bootstrap.servers": self.address,
            "client.id": f"arroyo-{self._owner}-{os.getpid()}",
            "error_cb": self._note,
            # All that it has to say is said again by this connector, in a sentence.
            "log_level": 0,
            # Away servers are asked again soon, and a socket that answers no more is given up.
            "reconnect.backoff.max.ms": 2_000,
            "socket.timeout.ms": 10_000,
            "socket.keepalive.enable": True,
            # Its default is to close connections that have been idle for some minutes.
            "connections.max.idle.ms": 0,
            **self._security,
        }
        if self._password_env is not None:
            settings["sasl.password"] = self._read_password(self._password_env)
        return settings

    def _read_password(self, name: str) -> str:
        try:
            return os.environ[name]
        except KeyError:
            raise ConfigurationError(
                f"password_env names the environment variable {name}, which is not set"
            ) from None

    def make(self, kind: type[Any], settings: Mapping[str, Any]) -> Any:
        """Make a consumer or producer, which connects by itself.

        Raises
        ------
        ConfigurationError
            librdkafka refuses the options of TLS or SASL, or the password is not set.
        """
        try:
            return kind({**self.settings(), **settings})
        except (KafkaException, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"{self._owner}: the settings under security can't be used: {self._text(error)}"
            ) from None  # the error holds all settings, passwords too

    def require_topics(self, client: Any, topics: Iterable[str]) -> None:
        """Wait until a server has answered, and look whether it has these topics.

        Raises
        ------
        ConfigurationError
            The password is wrong.
        UnavailableError
            No server can be reached, or a topic is not there.
        """
        found = self._list_topics(client)
        for topic in topics:
            if topic not in found or found[topic].error is not None:
                raise self.missing(topic)

    def missing(self, topic: str) -> UnavailableError:
        """Return the error that says that a topic is not there."""
        return UnavailableError(
            f"the Kafka servers at {self.address} have no topic {topic!r}; make it there "
            f"(kafka-topics.sh --create --topic {topic}), or mend its name"
        )

    def _list_topics(self, client: Any) -> Mapping[str, Any]:
        give_up_s = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                found: Mapping[str, Any] = client.list_topics(timeout=LOOK_S).topics
            except KafkaException as error:
                client.poll(0)  # calls `_note`, if there is something to note
                if self._refusal is not None:
                    raise self._refusal from None
                if time.monotonic() >= give_up_s:
                    raise self.explain(error.args[0]) from None
                # It fails at once where a connection was refused.
                time.sleep(min(LOOK_S, 0.05))
            else:
                self._refusal = None
                return found

    # What librdkafka says

    @property
    def is_away(self) -> bool:
        """Whether no server could be reached when it was last tried."""
        return self._away_since is not None

    @property
    def away_s(self) -> float:
        """How long no server could be reached, in s."""
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    def note_answer(self) -> None:
        """A server has answered."""
        if self._away_since is not None:
            _log.warning("the Kafka servers at %s are there again", self.address)
            self._away_since = self._refusal = None

    def unreachable(self) -> ArroyoError:
        """Return the error that says why no server can be reached."""
        return self._refusal or self.explain(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    def _note(self, error: KafkaError) -> None:
        code = error.code()
        if error.fatal():
            self.is_dead = True
        elif code in (KafkaError._AUTHENTICATION, KafkaError._SSL):
            self._refusal = self.explain(error)
        elif code == KafkaError._ALL_BROKERS_DOWN and self._away_since is None:
            self._away_since = time.monotonic()
            _log.warning("%s; trying again until it works", self.unreachable())

    def explain(self, error: KafkaError, topic: str = "") -> ArroyoError:
        """Say what an error of librdkafka means, and what to do."""
        at = f"the Kafka servers at {self.address}"
        code = error.code()
        if code in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
            return ConfigurationError(
                f"{at} refuse the user or the password; set security.'sasl.username' and "
                "'sasl.mechanism', put the right password into an environment variable, and name "
                "it in password_env"
            )
        if code == KafkaError._SSL:
            return ConfigurationError(
                f"TLS with {at} fails ({error.str()}); look at the certificates that security "
                "names in 'ssl.ca.location', 'ssl.certificate.location' and 'ssl.key.location'"
            )
        if code in MISSING:
            return self.missing(topic)
        if code in _FORBIDDEN:
            return ConfigurationError(
                f"{at} don't permit it: {error.str()}; have this user permitted to"
                f"{f' use the topic {topic!r}' if topic else ''}"
            )
        if code == KafkaError._RESOLVE:
            return UnavailableError(f"the names in {self.address} are not known; mend servers")
        reason = _REASONS.get(code, error.str())
        return UnavailableError(
            f"{at} can't be reached ({reason}); start them, or mend servers or security"
        )

    def _text(self, error: Exception) -> str:
        """Return an error's text without the secrets."""
        found = error.args[0] if error.args else error
        text = found.str() if isinstance(found, KafkaError) else str(found)
        secrets = [str(self._security[key]) for key in _SECRETS if self._security.get(key)]
        for secret in secrets:
            text = text.replace(secret, "***")
        return text


MISSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
_FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_REASONS = {
    KafkaError._ALL_BROKERS_DOWN: "none of them answers",
    KafkaError._TRANSPORT: "none of them answers",
    KafkaError._TIMED_OUT: "no answer in time",
    KafkaError._MSG_TIMED_OUT: "no answer in time",
}
