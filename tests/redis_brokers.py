"""Redis, as the conformance suite sees it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import redis
from brokers import AT_LEAST_ONCE, Broker, Sent
from redis_server import RedisServer, find_missing

BY_HAND = """
import json, sys
import redis

(reader, writer), messages = json.loads(sys.argv[1]), int(sys.argv[2])
stream, group = reader["stream"], reader["group"]
client = redis.Redis.from_url(reader["url"])
client.xgroup_create(stream, group, "0", mkstream=True)
count, done = 1, 0
while done < messages:
    reply = client.xreadgroup(group, "me", {stream: ">"}, count=count, block=100)
    if not reply:
        continue
    entries = reply[0][1]
    with client.pipeline(transaction=False) as pipeline:
        for _, fields in entries:
            message = json.loads(fields[b"header"])
            header = json.dumps(message)
            pipeline.xadd(writer["stream"], {"header": header, "payload": fields[b"payload"]})
        pipeline.execute()
    client.xack(stream, group, *[entry for entry, _ in entries])
    done += len(entries)
    count = max(1, min(100, 2**20 // (1 + len(fields[b"payload"]))))
"""


class RedisStreams(Broker):
    """A server that has written to its disk whatever it confirms."""

    listener = "arroyo.connectors:RedisStreamListener"
    publisher = "arroyo.connectors:RedisStreamPublisher"
    by_hand: ClassVar[dict[str, str]] = {AT_LEAST_ONCE: BY_HAND}
    impatient: ClassVar[dict[str, Any]] = {"retry_for_s": 0.5}

    @staticmethod
    def find_missing() -> str:
        return find_missing()

    @staticmethod
    def make_server(folder: Path, *, fast: bool = False) -> RedisServer:
        program = shutil.which("redis-server")
        assert program is not None
        return RedisServer(program, folder, fsync="" if fast else "always")

    def make(self, queue: str) -> None:
        pass

    def produce(self, queue: str, messages: list[Sent]) -> None:
        with redis.Redis.from_url(self.server.url) as client, client.pipeline() as pipeline:
            for header, payload in messages:
                pipeline.xadd(self.own(queue), {"header": header, "payload": payload})
            pipeline.execute()

    def consume(self, queue: str) -> list[Sent]:
        with redis.Redis.from_url(self.server.url) as client:
            entries = client.xrange(self.own(queue))
        return [(fields[b"header"], fields[b"payload"]) for _, fields in entries]

    def count(self, queue: str) -> int:
        with redis.Redis.from_url(self.server.url) as client:
            return client.xlen(self.own(queue))

    def fill(self) -> None:
        self._set_memory(1)

    def make_room(self) -> None:
        self._set_memory(0)

    def _set_memory(self, size: int) -> None:
        with redis.Redis.from_url(self.server.url) as client:
            client.config_set("maxmemory", size)

    def listener_options(self, queue: str) -> dict[str, Any]:
        return {"stream": self.own(queue), "group": "chain", "url": self.server.url}

    def publisher_options(self, queue: str) -> dict[str, Any]:
        return {"stream": self.own(queue), "url": self.server.url}
