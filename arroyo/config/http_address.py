"""`HttpAddress`: where the pages and figures of a chain are served. PURE."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

_ADDRESS = re.compile(r"(?P<host>[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")


class HttpAddress(NamedTuple):
    """The value of ``http`` in the chain file, and of `--listen`."""

    host: str
    """A name or an address, that of IPv6 without brackets."""
    port: int

    @classmethod
    def parse(cls, text: str) -> HttpAddress:
        """Parse ``host:port``; port 0 is any free one. ValueError if it is not that."""
        match = _ADDRESS.fullmatch(text)
        if not match or int(match["port"]) > 65_535:
            raise ValueError(f"found {text!r}, expected 'host:port', such as '127.0.0.1:9464'")
        return cls(match["host"].strip("[]"), int(match["port"]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this host's own programs can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def warning(self) -> str:
        """What whoever listens there should know; empty for loopback."""
        if self.is_loopback:
            return ""
        return (
            f"whoever can reach {self} can read what is served there; 127.0.0.1 is for programs of "
            "this host only"
        )

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
