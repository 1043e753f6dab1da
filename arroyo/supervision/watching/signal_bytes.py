"""Signals as bytes on a socket, for a loop that polls."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def signals_as_bytes(numbers: Sequence[signal.Signals]) -> Iterator[socket.socket]:
    """Have each signal come as a byte, its number, on the socket that is yielded."""
    wakes, wakened = socket.socketpair()
    wakes.setblocking(False)
    wakened.setblocking(False)
    before_fd = signal.set_wakeup_fd(wakened.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield wakes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        wakes.close()
        wakened.close()
