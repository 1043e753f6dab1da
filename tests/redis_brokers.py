"""Redis, as the conformance suite sees it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import redis
from brokers import Broker, Sent
from redis_server import RedisServer


class RedisStreams(Broker):
    """A server that has written to its disk whatever it confirms."""

    listener = "arroyo.connectors:RedisStreamListener"
    publisher = "arroyo.connectors:RedisStreamPublisher"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        program = shutil.which("redis-server")
        assert program is not None
        self._server = RedisServer(program, folder, fsync="always")
        self._url = f"redis://127.0.0.1:{self._server.port}/0"

    @staticmethod
    def find_missing() -> str:
        if shutil.which("redis-server"):
            return ""
        return "redis-server is not installed (Debian: apt-get install redis-server)"

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        self._server.kill()

    def make(self, queue: str) -> None:
        pass

    def produce(self, queue: str, messages: list[Sent]) -> None:
        with redis.Redis.from_url(self._url) as client, client.pipeline() as pipeline:
            for header, payload in messages:
                pipeline.xadd(queue, {"header": header, "payload": payload})
            pipeline.execute()

    def consume(self, queue: str) -> list[Sent]:
        with redis.Redis.from_url(self._url) as client:
            entries = client.xrange(queue)
        return [(fields[b"header"], fields[b"payload"]) for _, fields in entries]

    def listener_options(self, queue: str) -> dict[str, Any]:
        return {"stream": queue, "group": "chain", "url": self._url}

    def publisher_options(self, queue: str) -> dict[str, Any]:
        return {"stream": queue, "url": self._url}
