"""`Console`: lines for people on a terminal, pipe or file, which never block the writer."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading

_ROOM_BYTES = select.PIPE_BUF
# A descriptor that poll() calls writable takes this much without blocking.


class Console:
    """Lines for a person, on a descriptor that may block. For any thread.

    A line that can't be written now is left out. The next line says how many were.

    `descriptor`: where to write. A terminal or a pipe is opened once more, so that non-blocking
    mode is ours alone, and does not apply to other programs that share it.
    """

    def __init__(self, descriptor: int) -> None:
        self.is_terminal = os.isatty(descriptor)
        self.left_out = 0
        self._rest = b""
        self._writing = threading.Lock()
        self._descriptor = _reopened(descriptor)

    def write(self, line: str) -> None:
        """Write a line, or count it as left out."""
        with self._writing:
            note = f"({self.left_out} lines left out)\n" if self.left_out else ""
            text = f"{note}{line}\n".encode(errors="replace")
            done = self._push(text) if self._finish_line() else 0
            if done:
                self._rest, self.left_out = text[done:], 0
            else:
                self.left_out += 1

    def write_some(self, data: bytes) -> int:
        """Write as much of `data` as is possible now; return how many bytes that was."""
        with self._writing:
            return self._push(data) if self._finish_line() else 0

    @property
    def is_ready(self) -> bool:
        """Whether a line can be written now."""
        with self._writing:
            return self._finish_line() and self._is_writable()

    def _finish_line(self) -> bool:
        """Write the rest of a line that was written in part; return True if it is whole now."""
        self._rest = self._rest[self._push(self._rest) :]
        return not self._rest

    def _push(self, data: bytes) -> int:
        """Write as much as is possible without blocking; return how many bytes that was."""
        done = 0
        with contextlib.suppress(OSError):
            while done < len(data) and self._is_writable():
                done += os.write(self._descriptor, data[done : done + _ROOM_BYTES])
        return done

    def _is_writable(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return any(event & select.POLLOUT for _, event in poll.poll(0))

    def close(self) -> None:
        """Close our own descriptor."""
        os.close(self._descriptor)


def _reopened(descriptor: int) -> int:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        # It may be another user's, after `su` for instance; then poll() has to be enough.
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", flags)
    return os.dup(descriptor)
