"""systemd's readiness protocol, both ends: what a stage says of itself and who listens.

A stage speaks through `Notifier` and can't tell whether systemd or our supervisor listens; the
supervisor listens with `NotifySocket`. Saying something never blocks and never fails: a listener
that is gone or slow is no reason for a stage to stop. What could not be said is said with the
next word, so that a READY is not lost to a full queue (the kernel holds as few as 10 datagrams).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import MutableMapping
from pathlib import Path

_DATAGRAM_BYTES = 4096
_DATAGRAMS_AT_ONCE = 256
_UCRED = struct.Struct("iII")  # pid, uid, gid


class Notifier:
    """The speaking end, for any thread; `from_environ` makes the one of this process.

    Parameters
    ----------
    address
        Path of the listener's socket, or ``@name`` for an abstract one; None: nobody listens.
    watchdog_interval_s
        How often `watchdog` wants to be called, in s; None: nobody waits for it.
    """

    def __init__(
        self, address: str | None = None, watchdog_interval_s: float | None = None
    ) -> None:
        self.watchdog_interval_s = watchdog_interval_s
        self._address = address.replace("@", "\0", 1) if address else None
        self._unsaid: dict[str, str] = {}
        # Reentrant: a signal handler may speak while its own thread is at it.
        self._speaking = threading.RLock()

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Take what systemd or the supervisor left in `environ`, and remove it there.

        Programs that the stage starts would otherwise speak in its name.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        timeout = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", str(os.getpid()))
        known = address.startswith(("/", "@"))
        asked = known and timeout.isdecimal() and watched == str(os.getpid())
        return cls(
            address if known else None,
            int(timeout) / 2e6 if asked and int(timeout) > 0 else None,
        )

    def ready(self, status: str = "") -> None:
        """Say that start-up is over and work may come; `status` is a line for people."""
        self._say(READY="1", **({"STATUS": _one_line(status)} if status else {}))

    def stopping(self) -> None:
        """Say that the process has begun to stop."""
        with self._speaking:
            self._unsaid.pop("READY", None)
            self._say(STOPPING="1")

    def status(self, text: str) -> None:
        """Say in a line for people what the process is doing."""
        self._say(STATUS=_one_line(text))

    def watchdog(self) -> None:
        """Say that the process is well, where somebody waits for it.

        Call it in every round of a loop: it also repeats what could not be said before.
        """
        if self.watchdog_interval_s is not None:
            self._say(WATCHDOG="1")
        elif self._unsaid:
            self._say()

    def _say(self, **fields: str) -> None:
        if self._address is None:
            return
        with self._speaking:
            self._unsaid |= fields
            datagram = "\n".join(f"{key}={value}" for key, value in self._unsaid.items())
            if _send(self._address, datagram):
                self._unsaid.clear()


class NotifySocket:
    """The listening end: a datagram socket that only its user can write to.

    Parameters
    ----------
    path
        Where to bind it; a socket that a killed predecessor left there is removed. The caller
        holds a lock that makes sure of there being one listener.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            path.unlink(missing_ok=True)
            self._socket.bind(os.fspath(path))
            path.chmod(0o600)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """File descriptor to poll for reading."""
        return self._socket.fileno()

    def receive(self) -> list[tuple[int, dict[str, str]]]:
        """Return what has come in, oldest first, as (pid of the sender, fields); never blocks.

        The kernel vouches for the pid. Datagrams of other users, too long ones and what is not
        text are left out. At most 256 a call, so that a flood can't hold up the caller; poll
        tells that there are more.
        """
        found = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(_DATAGRAMS_AT_ONCE):
                # Room for the credentials and nothing else: the kernel closes any descriptor
                # that a sender passes along.
                data, ancillary, flags, _ = self._socket.recvmsg(
                    _DATAGRAM_BYTES, socket.CMSG_SPACE(_UCRED.size)
                )
                pid = _trusted_sender(ancillary)
                fields = {} if flags & socket.MSG_TRUNC else parse_fields(data)
                if pid is not None and fields:
                    found.append((pid, fields))
        return found

    def close(self) -> None:
        """Stop listening and remove the socket's path."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


def parse_fields(datagram: bytes) -> dict[str, str]:
    """Read the lines ``KEY=value``; none at all where the bytes are not text."""
    try:
        lines = datagram.decode().split("\n")
    except UnicodeDecodeError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key: value for key, separator, value in pairs if key and separator}


def _send(address: str, datagram: str) -> bool:
    # A socket for each word: nothing to close, nothing for a child process to inherit.
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.setblocking(False)
            speaker.sendto(datagram.encode(errors="replace"), address)
    except OSError:
        return False
    return True


def _trusted_sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """Pid of the sender where it is of our own user or root, else None."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid, uid, _ = _UCRED.unpack_from(data)
            return int(pid) if uid in (0, os.geteuid()) else None
    return None


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
