"""First steps of a supervised stage's process. Nothing heavy is imported here.

The supervisor starts a fresh interpreter that imports this module and calls `main` with paths and
a name. No objects are handed over.
"""

from __future__ import annotations

import os
import signal

SAFE_PATH_MARK = "arroyo-supervise"
"""Value of PYTHONSAFEPATH if the supervisor has set it, and not the user."""
ACCEPTED_COPY = "ARROYO_ACCEPTED_COPY"
"""Variable with the path of the copy of the chain file that the supervisor has accepted."""


def main(chain_path: str, name: str, run_path: str, state_path: str, lifeline: int) -> None:
    """Run one replica and exit with its code."""
    detach(lifeline)
    copy = os.environ.pop(ACCEPTED_COPY, None)

    from pathlib import Path

    from arroyo.config.folders import Folders
    from arroyo.identifiers import ReplicaName
    from arroyo.runner.process.stage_process import FromSupervisor, leave, run_stage

    folders = Folders.at(run_path, state_path)
    given = FromSupervisor(folders, lifeline, Path(copy) if copy else None)
    code = run_stage(chain_path, *ReplicaName.parse(name), given)
    dismiss_group()
    leave(code)


def detach(lifeline: int) -> None:
    """Leave the supervisor's session, so that Ctrl-C in the terminal reaches only the supervisor.

    SIGINT was blocked until here. One that is pending was meant for the supervisor and is dropped.
    Programs that the stage starts inherit neither the supervisor's PYTHONSAFEPATH nor the lifeline.
    """
    os.setsid()
    os.set_inheritable(lifeline, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("PYTHONSAFEPATH") == SAFE_PATH_MARK:
        del os.environ["PYTHONSAFEPATH"]


def dismiss_group() -> None:
    """End programs that the stage has left running.

    The supervisor ends them as well, unless it dies at this moment: so each stage does it itself.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
