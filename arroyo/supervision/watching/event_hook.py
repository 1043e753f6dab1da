"""`EventHook`: runs a user's program for events of a chain, to page somebody.

Each event is a process of its own, in its own session, with the event as JSON on its stdin. The
chain waits for none of them: a few run at once, some more events wait, and what is beyond that is
left out and told of. `timeout` of the coreutils ends a process that takes too long, also where the
supervisor has ended before it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import subprocess
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO, NamedTuple

from arroyo.config.graph import Hook
from arroyo.telemetry.event_line import EventLine

RUNNING_MAX = 4
WAITING_MAX = 64
TIME_LIMIT_S = 30
KILL_AFTER_S = 5
"""From SIGTERM to SIGKILL, for a program that takes too long."""
CLOSE_S = 3.0
OUTPUT_BYTES = 1024 * 1024
"""What a program has printed beyond that is dropped: it lies in memory."""
_TAIL_BYTES = 4096
_TIMED_OUT = 124
_NO_EVENT = "INFO"
_log = logging.getLogger("arroyo.supervision")


class _Run(NamedTuple):
    """A process of the program, and the event that it was started for."""

    process: subprocess.Popen[bytes]
    program: str
    event: str
    output: BinaryIO
    """What it prints: a file, which it may write to when we are gone."""


class EventHook:
    """Starts the program, and reaps it.

    `hook`: the program, and for which events; None: there is none.
    `folder`: working directory of the program.
    `time_limit_s`: one that takes longer is ended.
    `close_s`: how long to wait at the end: systemd kills what a service leaves behind.
    """

    def __init__(
        self,
        hook: Hook | None,
        folder: Path,
        *,
        time_limit_s: float = TIME_LIMIT_S,
        close_s: float = CLOSE_S,
    ) -> None:
        self._hook = hook
        self._time_limit_s = time_limit_s
        self._close_s = close_s
        self._folder = folder
        self._running: list[_Run] = []
        self._waiting: deque[tuple[Hook, str, bytes]] = deque()
        self._left_out = 0

    def use(self, hook: Hook | None) -> None:
        """Run this program for new events."""
        self._hook = hook

    @property
    def pids(self) -> set[int]:
        """Numbers of the processes that run."""
        return {run.process.pid for run in self._running}

    def offer(self, line: EventLine, encoded: bytes) -> None:
        """Take an event, and its JSON; run the program for it if that is wanted."""
        if self._hook is None:
            return
        wanted = self._hook.events
        if line.event not in wanted if wanted else line.level == _NO_EVENT:
            return
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append((self._hook, line.event, encoded))
        else:
            self._left_out += 1
        self.look()

    def look(self) -> None:
        """Take note of processes that have ended, drop what is too much, start the next ones."""
        ended = [run for run in self._running if run.process.poll() is not None]
        for run in ended:
            self._running.remove(run)
            self._tell_of_failure(run)
        for run in self._running:
            if os.fstat(run.output.fileno()).st_size > OUTPUT_BYTES:
                os.ftruncate(run.output.fileno(), 0)
        while self._waiting and len(self._running) < RUNNING_MAX:
            self._start(*self._waiting.popleft())
        if self._left_out and not self._waiting:
            _log.warning("on_event: %d events were left out, there were too many", self._left_out)
            self._left_out = 0

    def close(self) -> None:
        """Start what waits, and wait a little for the end of it; what runs is left to itself."""
        until = time.monotonic() + self._close_s
        while (self._waiting or self._running) and time.monotonic() < until:
            time.sleep(0.01)
            self.look()
        while self._running:
            run = self._running.pop()
            run.output.close()
            run.process.returncode = 0  # nobody waits for it any more

    def _start(self, hook: Hook, event: str, encoded: bytes) -> None:
        try:
            self._running.append(self._run(hook, event, encoded))
        except OSError as error:
            _log.warning("on_event: %s can't be run: %s", hook.command[0], error.strerror)

    def _run(self, hook: Hook, event: str, encoded: bytes) -> _Run:
        """Start the program for an event; OSError: that can't be."""
        limit = ["timeout", f"--kill-after={KILL_AFTER_S}", str(self._time_limit_s)]
        # Files rather than pipes, so that nobody waits for a reader.
        with contextlib.ExitStack() as opened, _memory_file("event") as stdin:
            stdin.write(encoded)
            stdin.seek(0)
            output = opened.enter_context(_memory_file("output"))
            process = subprocess.Popen(  # noqa: S603  (the program that the chain file names)
                [*limit, *hook.command],
                cwd=self._folder,
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            opened.pop_all()
        return _Run(process, hook.command[0], event, output)

    def _tell_of_failure(self, run: _Run) -> None:
        code, said = run.process.returncode, _last_line(run.output)
        if code:
            late = f"took longer than {self._time_limit_s} s"
            how = late if code == _TIMED_OUT else f"ended with {code}"
            _log.warning("on_event: %s %s after the event %s%s", run.program, how, run.event, said)


def _memory_file(name: str) -> BinaryIO:
    file = os.fdopen(os.memfd_create(name), "w+b", buffering=0)
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)  # so that it can be emptied while it is written
    return file


def _last_line(output: BinaryIO) -> str:
    """Return the last line that was printed, for the end of a sentence; the file is closed then."""
    with output:
        output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = output.read(_TAIL_BYTES).splitlines()
    return f": {lines[-1].decode(errors='backslashreplace')}" if lines else ""
