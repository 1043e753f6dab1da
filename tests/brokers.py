"""What the conformance suite has to know of a broker: one small class for each kind.

`Broker` is what a test has of a server, and programs that know nothing of Arroyo. To put a
connector through the suite, write a subclass and name it in `BROKERS`.
"""

from __future__ import annotations

import json
import pkgutil
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Protocol

from installed import require

BROKERS = [
    "memory_broker:MemoryBroker",
    "redis_brokers:RedisStreams",
    "rabbitmq_brokers:RabbitMQ",
    "nats_brokers:NATSJetStream",
    "kafka_brokers:Kafka",
]
"""All that are put through the suite, as `module:Class`; the first one proves the suite."""

AT_LEAST_ONCE = "at least once"
"""What a loop by hand promises that acknowledges a message when the server has what came of it."""

Sent = tuple[bytes, bytes]
"""Header and payload of a message, as WIRE_FORMAT.md has them."""


class Server(Protocol):
    """A server on a port of its own, which stays the same over restarts, as its data do."""

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers; nothing happens if it runs."""

    def kill(self) -> None:
        """End it as a crash would (SIGKILL); nothing happens if it does not run."""

    def close(self) -> None:
        """End it for good."""


class Broker(ABC):
    """The part of a server that belongs to one test.

    Queues are whatever the broker calls them: topics, streams. A server takes seconds to start, so
    tests share it; `turn` makes the names of a test's queues and groups differ from all others'.
    """

    listener: ClassVar[str]
    publisher: ClassVar[str]
    """The connectors, as a chain file names them."""
    lacks: ClassVar[dict[str, str]] = {}
    """Lines that the connectors can't keep, by the name of the test, with the words on their page
    that say so. The test has to fail, and the words to be there."""
    repeats: ClassVar[str] = ""
    """Words on the page that say that messages may come twice after a stage was killed; empty: they
    may not."""
    repeats_after_server_kill: ClassVar[str] = ""
    """The same for the server."""
    impatient: ClassVar[dict[str, Any]] = {}
    """Options of both connectors with which they give a server up soon that takes nothing; empty
    where there is no `fill` to bring that about."""
    missing: ClassVar[str] = ""
    """What the status says of a queue that is not there; empty: it is made."""
    waits: ClassVar[bool] = True
    """Whether its listener waits in its place for a server that has gone away."""
    modules: ClassVar[tuple[str, ...]] = ()
    """Modules of tests that stages of a chain need beside the chain file."""
    environ: ClassVar[dict[str, str]] = {}
    """What they need in the environment."""

    by_hand: ClassVar[dict[str, str]] = {}
    """Programs that move messages from one queue to another with the client library alone, for
    `scripts/benchmarks/broker_rates.py`, by what they promise. Their arguments are a JSON list of
    the listener's and the publisher's options, and the number of messages."""

    def __init__(self, server: Any, turn: int = 0) -> None:
        self.server = server
        self._turn = turn
        self._left_open = ExitStack()

    @staticmethod
    def find_missing() -> str:
        """Say what has to be installed for it; empty if nothing."""
        return ""

    @staticmethod
    @abstractmethod
    def make_server(folder: Path, *, fast: bool = False) -> Server:
        """Make a server with its data in `folder`, which is there; it does not run yet.

        `fast`: it need not write what it confirms, where that can be chosen; for measurements.
        """

    def own(self, name: str) -> str:
        """Return the name that a queue or group of this test has at the server."""
        return f"{name}-{self._turn}"

    def start(self) -> None:
        """Start the server again."""
        self.server.start()

    def kill(self) -> None:
        """End the server as a crash would; queues that were made stay."""
        self.server.kill()

    def fill(self) -> None:
        """Leave the server no room, so that it takes nothing until `make_room`."""
        raise NotImplementedError

    def make_room(self) -> None:
        """Let the server take messages again."""
        raise NotImplementedError

    def close(self) -> None:
        """End what its programs have left open; the server stays."""
        self._left_open.close()

    @abstractmethod
    def make(self, queue: str) -> None:
        """Make a queue, as an administrator would; nothing where that needs no doing."""

    @abstractmethod
    def produce(self, queue: str, messages: list[Sent]) -> None:
        """Put messages in, in order, without Arroyo; returns when the server has confirmed them."""

    @abstractmethod
    def consume(self, queue: str) -> list[Sent]:
        """Return all that is or was in a queue, in order, without Arroyo.

        Called again and again for the same queue, it returns the same messages and later ones.
        """

    def count(self, queue: str) -> int:
        """Return how many messages `consume` would return."""
        return len(self.consume(queue))

    @abstractmethod
    def listener_options(self, queue: str) -> dict[str, Any]:
        """Return options of a listener to this queue; all of them share it."""

    @abstractmethod
    def publisher_options(self, queue: str) -> dict[str, Any]:
        """Return options of a publisher to this queue."""

    def make_listener(self, operator: Any, queue: str, state: Path, **options: Any) -> Any:
        """Make a listener whose state directory is `state`, as a stage's process does."""
        kind = pkgutil.resolve_name(self.listener)
        listener = kind(operator, **{**self.listener_options(queue), **options})
        if kind.replayable:
            state.mkdir(parents=True, exist_ok=True)
            listener.state_directory = state
        return listener

    def make_publisher(self, queue: str, **options: Any) -> Any:
        """Make a publisher."""
        kind = pkgutil.resolve_name(self.publisher)
        return kind(**{**self.publisher_options(queue), **options})


def limits_of(spec: str) -> list[str]:
    """All that a broker's connectors have to say on their page about what they can't keep."""
    kind: type[Broker] = pkgutil.resolve_name(spec)
    said = [*kind.lacks.values(), kind.repeats, kind.repeats_after_server_kill]
    return [words for words in said if words]


def numbered(first: int, end: int, size_bytes: int = 3) -> list[Sent]:
    """Events in the outward format whose `index` counts from `first` up to `end`."""
    return [
        (
            json.dumps({"type": "Event", "metadata": {"index": index}}).encode(),
            bytes([index % 251]) * size_bytes,
        )
        for index in range(first, end)
    ]


def indices_of(sent: list[Sent]) -> list[int]:
    """The `index` of each Event among messages, in order."""
    headers = [json.loads(header) for header, _ in sent]
    return [each["metadata"]["index"] for each in headers if each["type"] == "Event"]


def load_broker(spec: str) -> type[Broker]:
    """Load a kind of broker, and its connectors, since libraries change logging when they come.

    Where its server is missing tests are skipped, but in CI they fail.
    """
    kind: type[Broker] = pkgutil.resolve_name(spec)
    require(kind.find_missing())
    pkgutil.resolve_name(kind.listener)
    pkgutil.resolve_name(kind.publisher)
    return kind
