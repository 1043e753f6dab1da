"""What a supervised stage's process does first. Nothing heavy is imported here.

`multiprocess` starts a fresh interpreter that imports this module and calls `main`. It hands over
a path and an index, no objects of ours.
"""

from __future__ import annotations

import os
import signal
import sys

from multiprocess import parent_process

SAFE_PATH_MARK = "arroyo-supervise"
"""Value of PYTHONSAFEPATH where the supervisor has set it and not the user."""


def main(chain_path: str, stage: str, replica: int) -> None:
    """Run one replica and exit with its code."""
    detach()

    from arroyo.runner.stage_process import run_stage

    code = run_stage(chain_path, stage, replica)
    dismiss_group()
    sys.exit(code)


def detach() -> None:
    """Leave the supervisor's session, so that a Ctrl-C in the terminal reaches only that one.

    Until here SIGINT was blocked; one that came meanwhile was meant for the supervisor and is
    dropped. Programs that the stage starts do not inherit the supervisor's PYTHONSAFEPATH.
    """
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("PYTHONSAFEPATH") == SAFE_PATH_MARK:
        del os.environ["PYTHONSAFEPATH"]


def dismiss_group() -> None:
    """End the programs that the stage leaves behind, where no supervisor is left to do it."""
    supervisor = parent_process()
    if supervisor is not None and not supervisor.is_alive():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
