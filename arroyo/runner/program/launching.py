"""Finds a program, and starts it so that it dies with the process that started it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Runs in an interpreter of its own and becomes the program. PR_SET_PDEATHSIG (1) outlasts exec().
# Python ignores two signals, which a program must not inherit.
_BECOME = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
if os.getppid() == int(sys.argv[1]):
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"{sys.argv[2]} can't be run: {error.strerror}")
"""


def find_program(program: str, folder: Path, environ: Mapping[str, str]) -> bool:
    """Return True if there is such a program, and it may be run.

    A name without a slash is looked for in the PATH of `environ`, any other path in `folder`.
    """
    if "/" in program:
        path = folder / program
        return path.is_file() and os.access(path, os.X_OK)
    return shutil.which(program, path=environ.get("PATH")) is not None


def launch(
    command: Sequence[str], environ: Mapping[str, str], output: int | None
) -> subprocess.Popen[bytes]:
    """Start a program, without a shell and with nothing on stdin.

    It is killed when the thread that calls this ends.

    Parameters
    ----------
    output
        Descriptor of a file that gets its stdout and stderr; None: where ours go.

    Raises
    ------
    OSError
        No process or memory is to be had.
    """
    become = [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid())]
    return subprocess.Popen(  # noqa: S603  (the program that the chain file names)
        [*become, *command],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )
