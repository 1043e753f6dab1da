"""What a supervised stage's process does first. Nothing heavy is imported here.

The supervisor starts a fresh interpreter that imports this module and calls `main`. It hands over
paths and a name, no objects.
"""

from __future__ import annotations

import os
import select
import signal

SAFE_PATH_MARK = "arroyo-supervise"
"""Value of PYTHONSAFEPATH where the supervisor has set it and not the user."""


def main(chain_path: str, name: str, run_path: str, state_path: str, lifeline: int) -> None:
    """Run one replica and exit with its code."""
    detach(lifeline)

    from arroyo.config.folders import Folders
    from arroyo.identifiers import ReplicaName
    from arroyo.runner.process.stage_process import leave, run_stage

    folders = Folders.at(run_path, state_path)
    code = run_stage(chain_path, *ReplicaName.parse(name), folders, lifeline)
    dismiss_group(lifeline)
    leave(code)


def detach(lifeline: int) -> None:
    """Leave the supervisor's session, so that a Ctrl-C in the terminal reaches only that one.

    Until here SIGINT was blocked; one that came meanwhile was meant for the supervisor and is
    dropped. Programs that the stage starts inherit neither the supervisor's PYTHONSAFEPATH nor
    the lifeline.
    """
    os.setsid()
    os.set_inheritable(lifeline, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("PYTHONSAFEPATH") == SAFE_PATH_MARK:
        del os.environ["PYTHONSAFEPATH"]


def dismiss_group(lifeline: int) -> None:
    """End the programs that the stage leaves behind, where no supervisor is left to do it."""
    poller = select.poll()
    poller.register(lifeline, select.POLLIN)
    if poller.poll(0):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
