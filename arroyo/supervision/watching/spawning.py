"""`spawn`: a fresh interpreter that calls a function with plain words, and nothing pickled.

So the new process need load neither `multiprocess` nor what that pickles with, which takes as long
as all the rest of a small stage's start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from multiprocess import util
from multiprocess.spawn import get_command_line

Words: TypeAlias = tuple[str, str, str, str]
"""Chain file, name of the replica, run directory, state directory."""
Target: TypeAlias = Callable[[str, str, str, str, int], None]
"""A module-level function that is a process: `Words`, and a descriptor that it inherits. For a
stage that is its lifeline, which becomes readable when the supervisor dies."""


class Child(NamedTuple):
    """A new process, and our end of its lifeline."""

    pid: int
    lifeline: int


def spawn(
    target: Target, words: Words, environ: Mapping[str, str], descriptor: int, room: int = 0
) -> int:
    """Start a process; returns its pid. SIGINT is blocked in it, see `child.detach`.

    `environ`: added to our environment.
    `room`: blanks in its command, see `fork_server_main`.

    OSError: no process, memory or descriptors are to be had.
    """
    code = f"from {target.__module__} import {target.__name__} as main; import sys; "
    code += "a = sys.argv; main(*a[1:5], int(a[5]))"
    # [interpreter, *flags, "-c", code, mark]: as it starts a process that unpickles what to do.
    flags = get_command_line()[1:-3]
    command = [sys.executable, *flags, "-c", code + " " * room, *words, str(descriptor)]
    with _environment(environ), _child_signals():
        pid: int = util.spawnv_passfds(os.fsencode(sys.executable), command, [descriptor])
    return pid


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have `values` in os.environ: that is what a new process inherits."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextlib.contextmanager
def _child_signals() -> Iterator[None]:
    """Block SIGINT for the new process, until it has left this session."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
