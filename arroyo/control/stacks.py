"""Stacks of the threads of a stage that crashes or hangs, in a file beside its log.

Python's `faulthandler` writes them from within the signal handler, so it works in a crash, and
while C code holds the interpreter's lock. The file exists as long as the stage runs, and is empty
while all is well. Stacks that a process has left are kept as ``STAGE.R.stacks.1``.

On request the process adds its last transitions (`history_file`). Python writes these, so they come
a little later, and not at all while C code holds the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from arroyo.errors import UnavailableError
from arroyo.telemetry.output import set_aside

from .locks import owner

DUMP_SIGNAL = signal.SIGUSR1
"""Makes a stage write the stacks of all its threads and its history, and work on."""
ANSWER_S = 3.0
"""A stage that has not written its history after this time is in C code."""
LOOK_S = 0.01
_BEGIN = "\n--- what led there\n"
_END = "--- end\n"


def stacks_file(log: Path) -> Path:
    """Return the path of the stacks of the replica with this log."""
    return log.with_suffix(".stacks")


@contextlib.contextmanager
def trace_faults(log: Path, tell: Callable[[], str]) -> Iterator[None]:
    """Write the stacks of all threads at a fatal signal, and at each `DUMP_SIGNAL`.

    If the file can't be made, there are no stacks: that is no reason not to start.

    `log`: log of this process; the file is beside it.
    `tell`: called in the main thread at a `DUMP_SIGNAL`; its text is written behind the stacks.
    """
    path = stacks_file(log)
    # Without a file, and at the very end, the signal does nothing; by default it would end us.
    signal.signal(DUMP_SIGNAL, _do_nothing)
    with contextlib.ExitStack() as cleanup:
        with contextlib.suppress(OSError):
            set_aside(path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            cleanup.callback(os.close, descriptor)
            faulthandler.enable(descriptor)
            cleanup.callback(faulthandler.disable)

            def write(number: int, frame: FrameType | None) -> None:
                with contextlib.suppress(OSError):
                    os.write(descriptor, f"{_BEGIN}{tell()}{_END}".encode())

            cleanup.callback(signal.signal, DUMP_SIGNAL, _do_nothing)
            signal.signal(DUMP_SIGNAL, write)
            faulthandler.register(DUMP_SIGNAL, descriptor, all_threads=True, chain=True)
            cleanup.callback(faulthandler.unregister, DUMP_SIGNAL)
        yield


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def request_stacks(log: Path, lock: Path, answer_s: float = ANSWER_S) -> str:
    """Make a running stage write its stacks and its history; return both, and empty the file.

    `log`, `lock`: of a stage within `trace_faults`; before that, a `DUMP_SIGNAL` would end it.

    UnavailableError: it has ended, or wrote nothing.
    """
    path = stacks_file(log)
    before = _size(path)
    if not _send_signal(lock):
        raise UnavailableError(f"{lock.name} has just ended; its log is {log}")
    until = time.monotonic() + answer_s
    written = b""
    while not written.endswith(_END.encode()) and time.monotonic() < until:
        time.sleep(LOOK_S)
        written = _read_from(path, before)
    if not written:
        raise UnavailableError(f"{lock.name} wrote nothing into {path}; it may have ended")
    text = written.decode(errors="replace")
    if not text.endswith(_END):
        return f"{text}\nno history: for {answer_s:g} s it was in code that is not Python\n"
    if _size(path) == before + len(written):
        os.truncate(path, before)  # so that a crash finds the file empty
    return text.removesuffix(_END)


def without_history(text: str) -> str:
    """Return the stacks in what a process left."""
    return text.partition(_BEGIN)[0]


def _send_signal(lock: Path) -> bool:
    """Send `DUMP_SIGNAL` to the holder of the lock; return False if there is none any more."""
    pid = owner(lock)
    if not pid:
        return False
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if owner(lock) != pid:
            return False
        signal.pidfd_send_signal(process, DUMP_SIGNAL)
    except ProcessLookupError:
        return False
    finally:
        os.close(process)
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read_from(path: Path, start: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return b""
