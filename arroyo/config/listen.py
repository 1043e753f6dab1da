"""`Listen`: the addresses of a stage's sockets, between hosts. PURE."""

from __future__ import annotations

import re
from typing import NamedTuple

_LISTEN = re.compile(r"tcp://(?P<host>[^\s:/]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
_ANY_HOST = ("*", "0.0.0.0", "[::]")  # noqa: S104  (compared with, not bound to)


class Listen(NamedTuple):
    """The value of ``listen``; each replica takes two ports, upwards from the one it names."""

    host: str
    ports: range

    @classmethod
    def parse(cls, text: str, replicas: int) -> Listen:
        """Parse ``tcp://host:port``; ValueError if it is not that, or ports are out of range."""
        match = _LISTEN.fullmatch(text)
        if not match:
            raise ValueError(f"found {text!r}, expected 'tcp://host:port'")
        first = int(match["port"])
        ports = range(first, first + 2 * replicas)
        if first < 1 or ports[-1] > 65_535:
            raise ValueError(f"the ports {first} to {ports[-1]} are not all within 1 to 65535")
        return cls(match["host"], ports)

    def ports_of(self, replica: int) -> range:
        """Return the ports of one replica: its ``in`` and its ``back``."""
        return self.ports[2 * replica : 2 * replica + 2]

    def first_common_port(self, other: Listen) -> int | None:
        """Return a port that both would bind on one host; None if there is none."""
        on_any_host = self.host in _ANY_HOST or other.host in _ANY_HOST
        if self.host != other.host and not on_any_host:
            return None
        return next((port for port in self.ports if port in other.ports), None)
