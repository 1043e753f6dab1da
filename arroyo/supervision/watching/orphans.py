"""Reaps processes that became our children because their own parent has died.

The kernel gives orphans to pid 1 (of a container, say) or to the nearest subreaper. When that is
us, nobody else takes their exit statuses, and each would stay as a zombie for good.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Container

_PR_GET_CHILD_SUBREAPER = 37
"""prctl(2): whether this process is a subreaper."""


def adopts_orphans() -> bool:
    """Return True if orphans become children of this process."""
    is_subreaper = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(is_subreaper), 0, 0, 0)
    return os.getpid() == 1 or is_subreaper.value != 0


def reap_orphans(own: Container[int]) -> None:
    """Take the exit status of every ended child whose pid is not among our `own`.

    Stops at one of our own: its status is for whoever started it, and the next call goes on.
    """
    while (pid := _ended_child()) is not None and pid not in own:
        os.waitpid(pid, os.WNOHANG)


def _ended_child() -> int | None:
    """Pid of a child that has ended, whose status stays to be taken; None: there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid
