"""Stacks of a stage that crashes or hangs, in a file beside its log.

Python's `faulthandler` writes them from within the signal, so it works in a crash, and while C
code holds the interpreter's lock. The file is there as long as the stage runs and is empty while
all is well; what a process has left there is put aside for people, as ``STAGE.R.stacks.1``.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

DUMP_SIGNAL = signal.SIGUSR1
"""Makes a stage write the stacks of all its threads; it works on."""


def stacks_file(log: Path) -> Path:
    """Path of the stacks of the replica whose log is `log`."""
    return log.with_suffix(".stacks")


@contextlib.contextmanager
def trace_faults(log: Path) -> Iterator[None]:
    """Write the stacks of all threads at a fatal signal, and at each `DUMP_SIGNAL`.

    A disk that takes no file takes no stacks either: that is no reason not to start.
    """
    path = stacks_file(log)
    # Where no file can be had, and at the very end, it does nothing: its default would end us.
    signal.signal(DUMP_SIGNAL, _do_nothing)
    with contextlib.ExitStack() as cleanup:
        with contextlib.suppress(OSError):
            set_aside(path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            cleanup.callback(os.close, descriptor)
            faulthandler.enable(descriptor)
            cleanup.callback(faulthandler.disable)
            faulthandler.register(DUMP_SIGNAL, descriptor, all_threads=True)
            cleanup.callback(faulthandler.unregister, DUMP_SIGNAL)
        yield


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def set_aside(path: Path) -> Path | None:
    """Keep what stands in the stacks file of a process that has ended; the one before goes.

    Returns
    -------
    Path or None
        Where it is now; None where there is nothing in it.
    """
    kept = path.with_name(f"{path.name}.1")
    try:
        if not path.stat().st_size:
            return None
        path.replace(kept)
    except OSError:
        return None
    return kept
