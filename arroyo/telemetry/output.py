"""`OutputCapture`: stdout and stderr of a stage, of its C code and of programs that it starts.

Both descriptors point at a file, ``STAGE.R.out`` beside the log, so no write waits for a reader:
not for a terminal on hold (Ctrl-S), nor for a pipe without a reader, nor for a thread of ours while
C code holds the interpreter's lock. A thread copies the lines into the log, and shows them on the
console as far as that keeps up. A process that is killed leaves the file, and the next one keeps
it as ``STAGE.R.out.1``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from .console import Console
from .followed_file import BEHIND_BYTES, FollowedFile
from .logs import OUTPUT, is_journal

LOOK_S = 1.0
LOOK_WITH_CONSOLE_S = 0.1
"""How often output is copied into the log, without a console and with one."""
FILE_BYTES = 1024 * 1024
"""A file of this size is emptied as soon as it has been read."""
LOOK_BYTES = 256 * 1024
"""How much is copied into the log at once; further behind, only the last lines are kept."""
_CHUNK_BYTES = 4096

_log = logging.getLogger(__name__)
_output = logging.getLogger(OUTPUT)


def output_file(log: Path) -> Path:
    """Return the path of the output of the replica with this log."""
    return log.with_suffix(".out")


class OutputCapture:
    """Captures stdout and stderr of this process, from now until `close`.

    `console`: where to show it as well; None: nowhere, since a supervisor does.
    """

    def __init__(self, path: Path, console: Console | None) -> None:
        self._console = console
        self._descriptor = -1
        self._unshown_bytes = 0
        self._stop = threading.Event()
        set_aside(path)
        self._logged, self._shown = FollowedFile(path), FollowedFile(path)
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
        # Without a file there is no output either.
        _redirect(os.devnull if self._descriptor < 0 else f"/proc/self/fd/{self._descriptor}")
        every_s = LOOK_S if console is None else LOOK_WITH_CONSOLE_S
        self._thread = threading.Thread(
            target=self._run, args=(every_s,), name="arroyo-output", daemon=True
        )
        self._thread.start()

    def _run(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            self._look()

    def _look(self, *, final: bool = False) -> None:
        for line in self._logged.lines(BEHIND_BYTES if final else LOOK_BYTES, final=final):
            self._tell_skipped()
            _output.info("%s", line.decode(errors="backslashreplace"))
        self._tell_skipped()
        self._show()
        self._empty()

    def _tell_skipped(self) -> None:
        if skipped := self._logged.skipped_bytes:
            self._logged.skipped_bytes = 0
            _log.warning("%d bytes of output left out: more came than the log can take", skipped)

    def _show(self) -> None:
        console = self._console
        if console is None or not console.is_ready:
            return
        if self._unshown_bytes:
            note = f"({self._unshown_bytes} bytes of output left out)\n"
            self._unshown_bytes = 0
            console.write_some(note.encode())
        while console.is_ready and (data := self._shown.read(_CHUNK_BYTES)):
            self._shown.put_back(len(data) - console.write_some(data))

    def _empty(self) -> None:
        """Limit the size of the file. Output of this very moment may be lost."""
        if self._descriptor < 0 or self._logged.unread_bytes:
            return
        if os.fstat(self._descriptor).st_size >= FILE_BYTES:
            if self._console is not None:
                self._unshown_bytes += self._shown.unread_bytes
            os.ftruncate(self._descriptor, 0)
            self._logged.restart()
            self._shown.restart()

    def close(self) -> None:
        """Copy the rest into the log and onto the console; later output stays in the file."""
        self._stop.set()
        self._thread.join()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._look(final=True)
        self._logged.close()
        self._shown.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)


def set_aside(path: Path) -> Path | None:
    """Keep what an ended process has left, in place of what an earlier one left.

    Returns where it is now; None where there is none.
    """
    kept = path.with_name(f"{path.name}.1")
    try:
        return path.replace(kept) if path.stat().st_size else None
    except OSError:
        return None


def _redirect(target: str) -> None:
    """Point stdout and stderr at `target`, except at the journal, which is always read."""
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if is_journal(number):
            continue
        with contextlib.suppress(OSError, ValueError):
            getattr(sys, name).flush()
        os.dup2(descriptor, number)
        stream = io.TextIOWrapper(
            io.BufferedWriter(_Unfailing(number)),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.close(descriptor)


class _Unfailing(io.FileIO):
    """A standard stream whose writes never fail: a full disk must not make `print` raise."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, data: Any) -> int:
        """Write `data`, or drop it on a full disk."""
        view = memoryview(data)
        with contextlib.suppress(OSError):
            super().write(view)
        return view.nbytes
