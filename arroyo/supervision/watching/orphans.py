"""Reaps orphans: processes that became our children because their own parent died.

The kernel gives them to pid 1 (of a container, say) or to the nearest subreaper. If that is us,
nobody else takes their exit statuses, and each of them would stay as a zombie.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Container

_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
"""prctl(2): whether this process is a subreaper."""


def adopt_orphans(*, adopt: bool = True) -> None:
    """Have orphans become children of this process, where the kernel knows how; or no longer."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def adopts_orphans() -> bool:
    """Return True if orphans become children of this process."""
    is_subreaper = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(is_subreaper), 0, 0, 0)
    return os.getpid() == 1 or is_subreaper.value != 0


def reap_orphans(own: Container[int]) -> None:
    """Take the exit status of every ended child whose pid is not in `own`.

    Stops at one that is: its status is for the code that started it. The next call goes on.
    """
    while (pid := _ended_child()) is not None and pid not in own:
        os.waitpid(pid, os.WNOHANG)


def _ended_child() -> int | None:
    """Return the pid of an ended child, and leave its status; None: no child has ended."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid
