"""systemd's readiness protocol (sd_notify), both ends.

A stage sends with `Notifier`, and can't tell whether systemd or our supervisor receives; the
supervisor receives with `NotifySocket`. Sending never blocks and never fails: a receiver that is
gone or slow is no reason for a stage to stop. What could not be sent is sent with the next
notification, so a full queue loses no READY (the kernel keeps as few as 10 datagrams).
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
_REFUSAL_CHARACTERS = 500
_DATAGRAMS_AT_ONCE = 256
_UCRED = struct.Struct("iII")  # pid, uid, gid


class Notifier:
    """The sending end, for any thread; `from_environ` makes the one of this process.

    `address`: path of the receiver's socket, or ``@name`` for an abstract one; None: there is none.
    `watchdog_interval_s`: how often `watchdog` has to be called, in s; None: there is no watchdog.
    """

    def __init__(
        self, address: str | None = None, watchdog_interval_s: float | None = None
    ) -> None:
        self.watchdog_interval_s = watchdog_interval_s
        self._address = address.replace("@", "\0", 1) if address else None
        self._unsent: dict[str, str] = {}
        # Reentrant: a signal handler may send while its own thread is sending.
        self._sending = threading.RLock()

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Read the variables of systemd or the supervisor, and remove them from `environ`.

        Else programs that the stage starts would send in its name.
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
        """Report that start-up is over; `status` is a line for people."""
        self._send(READY="1", **({"STATUS": _one_line(status)} if status else {}))

    def stopping(self) -> None:
        """Report that the process has begun to stop."""
        with self._sending:
            self._unsent.pop("READY", None)
            self._send(STOPPING="1")

    def status(self, text: str) -> None:
        """Report in a line for people what the process is doing."""
        self._send(STATUS=_one_line(text))

    def parameters(self, number: int, refusal: str) -> None:
        """Report that order `number` was taken, or why it was refused."""
        self._send(X_PARAMETERS=f"{number} {_one_line(refusal)[:_REFUSAL_CHARACTERS]}")

    def watchdog(self) -> None:
        """Report that the process is well, where there is a watchdog.

        Call it in every round of a loop: it also sends what could not be sent before.
        """
        if self.watchdog_interval_s is not None:
            self._send(WATCHDOG="1")
        elif self._unsent:
            self._send()

    def _send(self, **fields: str) -> None:
        if self._address is None:
            return
        with self._sending:
            self._unsent |= fields
            datagram = "\n".join(f"{key}={value}" for key, value in self._unsent.items())
            if _send_datagram(self._address, datagram):
                self._unsent.clear()


class NotifySocket:
    """The receiving end: a datagram socket that only its user can write to.

    `path`: where to bind it; the socket of a predecessor that was killed is removed. The caller
    holds a lock, so there is no other receiver.
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

        The kernel vouches for the pid. Datagrams of other users, too long ones and those that are
        not text are left out. A call reads at most 256, so that a flood can't hold up the caller;
        poll says that there are more.
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
        """Close the socket and remove its path."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


def parse_fields(datagram: bytes) -> dict[str, str]:
    """Return the lines ``KEY=value`` as a dict, empty where the bytes are not text."""
    try:
        lines = datagram.decode().split("\n")
    except UnicodeDecodeError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key: value for key, separator, value in pairs if key and separator}


def _send_datagram(address: str, datagram: str) -> bool:
    # A socket for each datagram: nothing to close, nothing for a child process to inherit.
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(datagram.encode(errors="replace"), address)
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
