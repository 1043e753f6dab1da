"""Signals that a supervisor takes, as bytes on a socket for its loop around a selector."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator, Sequence

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
_IGNORED_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
"""Each ends a process unless it is handled."""


def signals_to_take(ends: bool) -> list[signal.Signals]:
    """Return the signals to handle; `ends`: the one for ends of children too."""
    found = [*STOP_SIGNALS, *_IGNORED_SIGNALS]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        found.remove(signal.SIGHUP)  # nohup
    return [*found, signal.SIGCHLD] if ends else found


def say_ignored(number: int) -> str:
    """Return what people are told who have sent another signal than those that stop."""
    return (
        f"{signal.Signals(number).name} is ignored: it means nothing here. "
        "Ctrl-C or SIGTERM stops the chain"
    )


@contextlib.contextmanager
def signals_as_bytes(numbers: Sequence[signal.Signals]) -> Iterator[socket.socket]:
    """Yield a socket on which each signal arrives as one byte, its number."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    before_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        reader.close()
        writer.close()
