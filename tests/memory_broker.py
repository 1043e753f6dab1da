"""A stand-in for a broker, in memory: it proves the conformance suite.

It keeps everything, gives each message to one reader until that has acknowledged it, and knows
keys. `kill` cuts all connections; what was confirmed is there again after `start`.
"""

from __future__ import annotations

import socketserver
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from brokers import Broker, Sent
from memory_connectors import Peer
from outside import free_port

WAIT_S = 0.1
AT_ONCE = 100


class Queue:
    """Messages, which of them nobody has read yet, and who has not acknowledged which."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.keys: set[str] = set()
        self.next = 0
        self.pending: dict[int, str] = {}

    def add(self, key: str, header: bytes, payload: bytes) -> None:
        if not key or key not in self.keys:
            self.keys.add(key)
            self.messages.append((header, payload))

    def read(self, reader: str) -> list[Any]:
        numbers = range(self.next, min(self.next + AT_ONCE, len(self.messages)))
        self.next = numbers.stop
        self.pending |= dict.fromkeys(numbers, reader)
        return [(number, *self.messages[number]) for number in numbers]

    def read_again(self, reader: str) -> list[Any]:
        mine = [number for number, owner in self.pending.items() if owner == reader]
        return [(number, *self.messages[number]) for number in sorted(mine)]

    def acknowledge(self, numbers: list[int]) -> None:
        for number in numbers:
            self.pending.pop(number, None)


class Store:
    """All queues, and what a request does to them."""

    def __init__(self) -> None:
        self._queues: dict[str, Queue] = {}
        self._changed = threading.Condition()

    def answer(self, verb: str, name: str, *arguments: Any) -> Any:
        with self._changed:
            queue = self._queues.setdefault(name, Queue())
            if verb == "add":
                for message in arguments[0]:
                    queue.add(*message)
                self._changed.notify_all()
                return None
            if verb == "read":
                self._changed.wait_for(lambda: queue.next < len(queue.messages), WAIT_S)
                return queue.read(*arguments)
            if verb == "all":
                return queue.messages
            return getattr(queue, verb)(*arguments)


class Answering(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        peer = Peer(self.request)
        self.server.peers.add(peer)
        with suppress(OSError, ValueError):
            while True:
                request = peer.receive()
                peer.send(self.server.store.answer(*request))
        self.server.peers.discard(peer)
        peer.close()


class Door(socketserver.ThreadingTCPServer):
    """Answers until `close`."""

    allow_reuse_address = True
    block_on_close = True

    def __init__(self, port: int, store: Store) -> None:
        self.store = store
        self.peers: set[Peer] = set()
        super().__init__(("127.0.0.1", port), Answering)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.01,), name=f"memory broker at {port}"
        )
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        for peer in list(self.peers):
            peer.close()
        self.server_close()
        self._thread.join()


class MemoryServer:
    """Can be killed and started again on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.store = Store()
        self._door: Door | None = None

    def start(self) -> None:
        if self._door is None:
            self._door = Door(self.port, self.store)

    def kill(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None

    close = kill


class MemoryBroker(Broker):
    """The stand-in, for the suite."""

    listener = "memory_connectors:MemoryListener"
    publisher = "memory_connectors:MemoryPublisher"
    modules = ("memory_connectors",)
    waits = False

    @staticmethod
    def make_server(folder: Path, *, fast: bool = False) -> MemoryServer:
        return MemoryServer()

    def make(self, queue: str) -> None:
        pass

    def produce(self, queue: str, messages: list[Sent]) -> None:
        self.server.store.answer("add", self.own(queue), [("", *message) for message in messages])

    def consume(self, queue: str) -> list[Sent]:
        return list(self.server.store.answer("all", self.own(queue)))

    def listener_options(self, queue: str) -> dict[str, Any]:
        return {"queue": self.own(queue), "port": self.server.port}

    def publisher_options(self, queue: str) -> dict[str, Any]:
        return {"queue": self.own(queue), "port": self.server.port}
