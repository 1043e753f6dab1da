"""Lines for people on a terminal, pipe or file; one that takes nothing holds nobody up."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading

_ROOM_BYTES = select.PIPE_BUF
# What poll() calls writable takes this much without blocking.


class Console:
    """Lines for a person, on a descriptor that may block. For any thread.

    A line that can't be written now is left out; the next one that can says how many were.

    Parameters
    ----------
    descriptor
        Where to; a terminal or a pipe is opened once more, so that not to block is our choice
        alone and not one for all the programs that share it.
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
        """Write the beginning of `data` as it is, as far as that goes now; return its length."""
        with self._writing:
            return self._push(data) if self._finish_line() else 0

    @property
    def is_ready(self) -> bool:
        """Whether a line would not be left out now."""
        with self._writing:
            return self._finish_line() and self._is_writable()

    def _finish_line(self) -> bool:
        """Write what is left of a line that went in part; return whether it is whole now."""
        self._rest = self._rest[self._push(self._rest) :]
        return not self._rest

    def _push(self, data: bytes) -> int:
        """Write as much as goes without blocking; return how much that was."""
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
        """Give up the descriptor of our own."""
        os.close(self._descriptor)


def _reopened(descriptor: int) -> int:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        # Not ours to open after `su`, say: then poll() alone must do.
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", flags)
    return os.dup(descriptor)
