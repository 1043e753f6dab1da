"""Kafka servers: addresses, login, settings for librdkafka, and its errors in words."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import TimeoutError as NoAnswerError
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from arroyo.connectors.server_urls import read_secret
from arroyo.errors import ArroyoError, ConfigurationError, UnavailableError

HEADER = "header"
"""Name of the record header that holds the outward header."""

ANSWER_TIMEOUT_S = 5.0
"""Servers that take longer to list their topics count as away."""
LOOK_S = 0.5
"""Interval at which the wait for that list checks whether the servers refuse the password."""

MESSAGE_BYTES_MAX = 1_000_000_000
"""The maximum of librdkafka; the servers' own limits decide."""
BATCH_BYTES = 1_000_000
"""So much librdkafka puts into a batch by default."""

_PASSED_ON = ("security.protocol", "sasl.", "ssl.", "enable.ssl.", "https.ca.")
_SECRETS = ("sasl.password", "ssl.key.password", "ssl.keystore.password")

_log = logging.getLogger(__name__)


class Servers:
    """Addresses of Kafka servers, how to log in there, and whether they answer.

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
        The options contradict each other, or an address is not valid.
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
        """The addresses, for messages."""
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
        """Whether librdkafka has reported that its producer can't go on."""
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

    # Settings

    def settings(self) -> dict[str, Any]:
        """Return librdkafka's settings to connect; ConfigurationError if the password isn't set."""
        settings = {
            "bootstrap.servers": self.address,
            "client.id": f"arroyo-{self._owner}-{os.getpid()}",
            "error_cb": self._note,
            "log_level": 0,  # this connector tells all that it logs, in sentences
            # Try servers that are away again soon, and give up sockets that don't answer.
            "reconnect.backoff.max.ms": 2_000,
            "socket.timeout.ms": 10_000,
            "socket.keepalive.enable": True,
            "connections.max.idle.ms": 0,  # by default it closes idle connections
            **self._security,
        }
        if self._password_env is not None:
            settings["sasl.password"] = read_secret("password_env", self._password_env)
        return settings

    def make(self, kind: type[Any], settings: Mapping[str, Any]) -> Any:
        """Make a consumer or producer; ConfigurationError if librdkafka refuses `security`."""
        try:
            return kind({**self.settings(), **settings})
        except (KafkaException, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"{self._owner}: the settings under security can't be used: {self._text(error)}"
            ) from None  # the error holds all settings, passwords too

    def require_topics(self, client: Any, topics: Iterable[str]) -> None:
        """Wait until a server answers, and check that it has these topics.

        ConfigurationError: the password is wrong, or the servers' certificate is not trusted.
        UnavailableError: no server can be reached, or a topic does not exist.
        """
        found = self._list_topics(client)
        for topic in topics:
            if topic not in found or found[topic].error is not None:
                raise self.missing(topic)

    def find_batch_bytes(self, topic: str) -> int:
        """Return how large batches for a topic may be; a larger one it would refuse as a whole.

        Raises as `require_topics`. If this user may not know it: `BATCH_BYTES`.
        """
        client = self.make(AdminClient, {})
        self.require_topics(client, [topic])
        (answer,) = client.describe_configs([ConfigResource("topic", topic)]).values()
        with suppress(KafkaException, NoAnswerError):
            found = answer.result(ANSWER_TIMEOUT_S).get("max.message.bytes")
            return BATCH_BYTES if found is None else min(BATCH_BYTES, int(found.value))
        return BATCH_BYTES

    def missing(self, topic: str) -> UnavailableError:
        """Return the error for a topic that does not exist."""
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
                client.poll(0)  # calls `_note` if something has happened
                if self._refusal is not None:
                    raise self._refusal from None
                if time.monotonic() >= give_up_s:
                    raise self.explain(error.args[0]) from None
                # list_topics() fails at once if a connection was refused.
                time.sleep(min(LOOK_S, 0.05))
            else:
                self._refusal = None
                return found

    # Errors

    @property
    def is_away(self) -> bool:
        """Whether no server could be reached at the last attempt."""
        return self._away_since is not None

    @property
    def away_s(self) -> float:
        """How long no server has been reached, in s."""
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    def note_answer(self) -> None:
        """Note that a server has answered."""
        if self._away_since is not None:
            _log.warning("the Kafka servers at %s are there again", self.address)
            self._away_since = self._refusal = None

    def look(self, client: Any) -> None:
        """Ask servers that are away whether they are there again; takes `LOOK_S` at most."""
        with suppress(KafkaException):
            client.list_topics(timeout=LOOK_S)
            self.note_answer()

    def unreachable(self) -> ArroyoError:
        """Return the error for servers that can't be reached."""
        return self._refusal or self.explain(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    def stuck(self, topic: str, waited_s: float) -> UnavailableError:
        """Return the error for servers that answer but confirm nothing."""
        return UnavailableError(
            f"the Kafka servers at {self.address} are there, but the topic {topic!r} takes nothing "
            f"now (nothing was confirmed for {waited_s:.0f} s); {_LOOK}"
        )

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
        """Return an error that says what an error of librdkafka means, and what to do."""
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
        return UnavailableError(f"{at} {self._trouble(error, topic)}")

    def _trouble(self, error: KafkaError, topic: str) -> str:
        if error.code() < KafkaError.UNKNOWN:  # librdkafka's own; the others are servers' answers
            reason = _REASONS.get(error.code(), error.str())
            return f"can't be reached ({reason}); start them, or mend servers or security"
        if topic:
            return f"say that the topic {topic!r} takes nothing now ({error.str()}); {_LOOK}"
        return f"can't do what they were asked ({error.str()}); {_LOOK}"

    def _text(self, error: Exception) -> str:
        """Return an error's text without the secrets."""
        found = error.args[0] if error.args else error
        text = found.str() if isinstance(found, KafkaError) else str(found)
        secrets = [str(self._security[key]) for key in _SECRETS if self._security.get(key)]
        for secret in secrets:
            text = text.replace(secret, "***")
        return text


_LOOK = "look at their logs, and whether their disks are full"
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
