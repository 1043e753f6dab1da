"""How a program is known to be ready: at once, by a port, by what it prints, or by its own word.

Nothing connects to a program for that, which would leave traces in its log.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from arroyo.control.notify import NotifySocket
from arroyo.control.ports_in_use import read_ports_in_use
from arroyo.telemetry.followed_file import BEHIND_BYTES, FollowedFile


class Readiness:
    """Ready as soon as it runs; subclasses know better. To be closed."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        """Variables that the program needs to say it."""
        self.descriptor: int | None = None
        """To be read from, by `look`, as long as the program runs; None: there is none."""

    def look(self) -> bool:
        """Return True if the program is ready; once it was, the answer does not matter."""
        return True

    def close(self) -> None:
        """Close what is open."""


class PortReadiness(Readiness):
    """Ready when something listens on a TCP port, at any address.

    `ports_in_use`: says which ports those are.
    """

    def __init__(self, port: int, ports_in_use: Callable[[], set[int]] = read_ports_in_use) -> None:
        super().__init__()
        self._port = port
        self._ports_in_use = ports_in_use

    def look(self) -> bool:
        """Look at the kernel's tables."""
        return self._port in self._ports_in_use()


class LogReadiness(Readiness):
    """Ready when a line of its output, in the file `path`, has this text."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__()
        self._text = text.encode()
        self._file = FollowedFile(path)

    def look(self) -> bool:
        """Read what was printed since the last time."""
        return any(self._text in line for line in self._file.lines(BEHIND_BYTES))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class NotifyReadiness(Readiness):
    """Ready when it says READY=1 (sd_notify), to a socket at `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._socket = NotifySocket(path)
        self.environ = {"NOTIFY_SOCKET": os.fspath(path)}
        self.descriptor = self._socket.fileno()

    def look(self) -> bool:
        """Read what it has said; what nobody reads would hold it up."""
        return any(fields.get("READY") == "1" for _, fields in self._socket.receive())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
