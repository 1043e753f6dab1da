"""The supervisor's own output: a terminal or pipe that takes nothing never holds it up."""

from __future__ import annotations

import contextlib
import os
import select
import stat

_ROOM_BYTES = select.PIPE_BUF
# What poll() calls writable takes this much without blocking.


class Console:
    """Lines for a person, on a descriptor that may block.

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
        self._descriptor = _reopened(descriptor)

    def write(self, line: str) -> None:
        """Write a line, or count it as left out."""
        note = f"({self.left_out} lines left out)\n" if self.left_out else ""
        text = f"{note}{line}\n".encode(errors="replace")
        if self._put(self._rest) and self._put(text, whole=False):
            self.left_out = 0
        else:
            self.left_out += 1

    def _put(self, data: bytes, whole: bool = True) -> bool:
        """Write what goes and keep the rest; whether all of it (or, not `whole`, some) went."""
        done = 0
        with contextlib.suppress(OSError):
            while done < len(data) and self._is_writable():
                done += os.write(self._descriptor, data[done : done + _ROOM_BYTES])
        if whole or done:
            self._rest = data[done:]
        return not self._rest if whole else done > 0

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
