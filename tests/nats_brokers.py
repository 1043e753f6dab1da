"""NATS JetStream, as the conformance suite sees it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from brokers import AT_LEAST_ONCE, Broker, Sent
from nats.js.errors import ServiceUnavailableError
from nats_server import NATSProgram, NATSServer, find_missing

BY_HAND = """
import asyncio, json, sys
import nats

(reader, writer), messages = json.loads(sys.argv[1]), int(sys.argv[2])

async def move():
    client = await nats.connect(reader["servers"])
    stream = client.jetstream()
    settings = nats.js.api.ConsumerConfig(ack_policy="all", max_ack_pending=-1)
    subscription = await stream.pull_subscribe(reader["subject"], "me", config=settings)
    subject = writer["subject"]
    count, done = 1, 0
    while done < messages:
        taken = await subscription.fetch(min(count, messages - done), timeout=5)
        sent = []
        for message in taken:
            header = json.dumps(json.loads(message.header["arroyo"]))
            headers = {"arroyo": header, "Nats-Msg-Id": str(message.metadata.sequence.stream)}
            sent.append(await stream.publish_async(subject, message.data, headers=headers))
        await asyncio.gather(*sent)
        await taken[-1].ack_sync()
        done += len(taken)
        count = max(1, min(500, 4 * 2**20 // (1 + len(message.data))))
    await client.close()

asyncio.run(move())
"""

BALLAST = "ballast"
BLOCK_BYTES = 8 * 2**20
ROOM = "256MB"


class NATSJetStream(Broker):
    """A server with one stream for each queue."""

    listener = "arroyo.connectors:NATSListener"
    publisher = "arroyo.connectors:NATSPublisher"
    missing = "has no s"
    by_hand: ClassVar[dict[str, str]] = {AT_LEAST_ONCE: BY_HAND}
    impatient: ClassVar[dict[str, Any]] = {"retry_for_s": 0.5}
    lacks: ClassVar[dict[str, str]] = {
        "test_two_listeners_share_the_messages": "A listener has one replica",
    }

    def __init__(self, server: Any, turn: int = 0) -> None:
        super().__init__(server, turn)
        self._program = NATSProgram(server.url)

    @staticmethod
    def find_missing() -> str:
        return find_missing()

    @staticmethod
    def make_server(folder: Path, *, fast: bool = False) -> NATSServer:
        return NATSServer(folder, room="" if fast else ROOM)

    def make(self, queue: str) -> None:
        self._program.make(self.own(queue), self.own(queue))

    def produce(self, queue: str, messages: list[Sent]) -> None:
        # The library takes headers as text; what is no UTF-8 goes through as other bytes.
        self._program.send(
            self.own(queue),
            [({"arroyo": header.decode("latin-1")}, payload) for header, payload in messages],
        )

    def consume(self, queue: str) -> list[Sent]:
        found = self._program.read(self.own(queue))
        return [(each.header["arroyo"].encode(), each.data) for each in found]

    def count(self, queue: str) -> int:
        return self._program.count(self.own(queue))

    def fill(self) -> None:
        async def fill(js: Any) -> None:
            with suppress(ServiceUnavailableError):
                while True:
                    await js.publish(BALLAST, bytes(BLOCK_BYTES))

        # Another stream takes the room of all.
        self._program.make(BALLAST, BALLAST)
        self._program.do(fill)

    def make_room(self) -> None:
        self._program.do(lambda js: js.delete_stream(BALLAST))

    def listener_options(self, queue: str) -> dict[str, Any]:
        name = self.own(queue)
        return {"stream": name, "subject": name, "servers": self.server.url}

    def publisher_options(self, queue: str) -> dict[str, Any]:
        return {"subject": self.own(queue), "servers": self.server.url}
