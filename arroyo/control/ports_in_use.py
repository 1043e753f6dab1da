"""TCP ports that something on this host listens on, as the kernel's tables say."""

from __future__ import annotations

from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENS = "0A"


def read_ports_in_use() -> set[int]:
    """Return the ports that are listened on, at any address; nobody is connected to for that."""
    ports = set()
    for table in _TABLES:
        if not table.exists():  # IPv6 can be off
            continue
        for line in table.read_text("ascii").splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == _LISTENS:
                ports.add(int(local.rpartition(":")[2], 16))
    return ports
