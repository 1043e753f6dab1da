"""`run_stage`: one replica as a process, the same by hand, supervised, and under systemd."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from arroyo.clock import SystemClock
from arroyo.config.folders import Folders
from arroyo.config.graph import Chain
from arroyo.config.reader import load_chain
from arroyo.config.run_directory import RunDirectory
from arroyo.config.suggestions import did_you_mean
from arroyo.control.history_file import history_text, leave_history
from arroyo.control.locks import Lock
from arroyo.control.notify import Notifier
from arroyo.control.shared_folders import settle_folders, settling
from arroyo.control.stacks import trace_faults
from arroyo.errors import ArroyoError, UnavailableError, UsageError, may_pass
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.history import History
from arroyo.runner.user_code.error_policy import in_words
from arroyo.runner.user_code.methods import MethodRaisedError
from arroyo.telemetry.console import Console
from arroyo.telemetry.logs import configure_logging, is_journal
from arroyo.telemetry.output import OutputCapture, output_file

from .resources import use_resources
from .stop_signals import StopNowError
from .versions import others_wired_differently, wiring_of

if TYPE_CHECKING:
    from .stage_context import Shell, StageContext

_log = logging.getLogger(__name__)

STOPPED_NOW = 1
"""Exit code after a second stop signal: it may have left work unfinished."""
CRASHED = 70
ATEXIT_S = 2.0
_OF_ROLES = (
    "process.stage_context",
    "relay.fold_role",
    "relay.relay_process",
    "relay.relay_role",
    "source.replayable_input",
    "source.source_process",
    "source.volatile_input",
    "user_code.loading",
)
"""What stages of all roles need, beside this module."""
SAID_CHARACTERS = 1000
"""Longest reason that is sent to a supervisor where a stage can't start; it is one datagram."""


class FromSupervisor(NamedTuple):
    """What a supervisor gives a stage."""

    folders: Folders
    """Those that it has settled on."""
    lifeline: int
    """Descriptor that becomes readable when it dies."""
    copy: Path | None = None
    """The copy of the chain file that it has accepted; None: the file is read itself."""


def run_stage(
    chain_path: str, stage: str, replica: int, given: FromSupervisor | None = None
) -> int:
    """Run one replica until it has ended; returns its exit code and never raises user errors.

    What goes wrong is in the log of the replica, as its last ERROR line, and by hand on stdout.
    Before there is a log, it is said to the supervisor, or to systemd and on stderr.
    From then on stdout and stderr of this process go to the log as well.

    Parameters
    ----------
    given
        What comes from the supervisor; None: there is none.
    """
    folders, lifeline, copy = given or (None, None, None)
    try:
        chain = load_chain(chain_path, copy=copy)
        name = _find(chain, stage, replica)
        run_directory = folders.run if folders else RunDirectory.locate(chain.name, os.environ)
        run_directory.create()
        with settling(run_directory) if given is None else contextlib.nullcontext():
            lock = Lock.acquire(run_directory.lock(name))
            folders = folders or settle_folders(chain, os.environ, lock)
        lock.note(wiring_of(chain))
        use_resources(chain.stages[name.stage])
    except ArroyoError as error:
        if os.environ.get("ARROYO_DEBUG"):
            raise
        # There is no log yet, or it is the log of the replica that runs.
        Notifier.from_environ(os.environ).status(str(error)[:SAID_CHARACTERS])
        if lifeline is None:
            for line in str(error).splitlines():
                sys.stderr.write(f"error: {line}\n")
        return error.exit_code
    log = run_directory.log(name)
    console = None if lifeline is not None or is_journal(2) else Console(1)
    configure_logging(log, str(name), chain.name, console)
    output = OutputCapture(output_file(log), console)
    try:
        history = History(SystemClock().monotonic())
        with trace_faults(log, lambda: history_text(str(name), history)):
            _tell_of_other_versions(chain, folders, lock)
            exit_code = _run_locked(chain, name, folders, lifeline, history)
            if exit_code == CRASHED and len(history):
                left = leave_history(log, history_text(str(name), history))
                if left is not None:
                    _log.info("what it did last is in %s", left)
            return exit_code
    finally:
        output.close()
        lock.release()


def leave(exit_code: int) -> NoReturn:
    """End this process, whose work is done.

    Threads that the stage's code has left running don't keep it, as they would at the end of
    the interpreter. What libraries have registered with `atexit` has `ATEXIT_S` for its work.
    """
    deadline = threading.Timer(ATEXIT_S, os._exit, (exit_code,))
    deadline.daemon = True
    deadline.start()
    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()  # it has no public name, and `sys.exit()` would wait for the threads
    os._exit(exit_code)


def _find(chain: Chain, stage: str, replica: int) -> ReplicaName:
    if stage not in chain.stages:
        raise UsageError(
            f"chain {chain.name} has no stage {stage!r}{did_you_mean(stage, chain.stages)}"
        )
    if not 0 <= replica < chain.stages[stage].replicas:
        raise UsageError(
            f"stage {stage} has the replicas 0 to {chain.stages[stage].replicas - 1}, "
            f"there is no replica {replica}"
        )
    return ReplicaName(stage, replica)


def _tell_of_other_versions(chain: Chain, folders: Folders, lock: Lock) -> None:
    others = others_wired_differently(folders.run, chain, lock.path)
    if others:
        _log.warning(
            "%s: started with another version of %s, in which stages, inputs or replicas differ. "
            "Stages of different versions may wait for each other for ever: stop those, and start "
            "them with this file",
            ", ".join(others),
            chain.path,
        )


def _run_locked(
    chain: Chain, name: ReplicaName, folders: Folders, lifeline: int | None, history: History
) -> int:
    notifier = Notifier.from_environ(os.environ)
    try:
        os.environ.update(chain.environ(chain.stages[name.stage]))
        os.chdir(chain.folder)
        # Here, not above: a replica that may not run need not load zmq to say so.
        if chain.stages[name.stage].role == "program":
            from arroyo.runner.program.program_process import ProgramProcess

            ProgramProcess(chain, name, folders, notifier, lifeline, history=history).run()
        else:
            from .stage_context import StageContext

            with StageContext(chain, name, folders, notifier, lifeline, history=history) as replica:
                for _ in make_shell(replica).steps():
                    pass  # it waits at its links
    except StopNowError:
        _log.warning(
            "told once more to stop while it drained, as at the end of stop_timeout_s, so it stops "
            "now; what was in flight is not finished"
        )
        return STOPPED_NOW
    except ArroyoError as error:
        told = os.environ.get("ARROYO_DEBUG") or isinstance(error, MethodRaisedError)
        _log.error("%s", error, exc_info=error if told else None)
        return error.exit_code
    except SystemExit as error:
        _log.error("the stage's code has ended its process by sys.exit(%s)", error.code)
        # 0 would say that it has finished.
        return error.code if isinstance(error.code, int) and error.code else CRASHED
    except BaseException as error:  # noqa: BLE001  (users' open() and close() may raise anything)
        _log.error("%s", in_words(error), exc_info=error)
        return UnavailableError.exit_code if may_pass(error) else CRASHED
    _log.info("ended")
    return 0


def import_all() -> None:
    """Import what a stage of any role needs, for those who fork it later."""
    for module in _OF_ROLES:
        importlib.import_module(f"arroyo.runner.{module}")


def make_shell(replica: StageContext, made: Any = None) -> Shell:
    """Make what runs a stage; `made`: the stage's object, if it is there already."""
    if replica.stage.role == "listener":
        from arroyo.runner.source.source_process import SourceProcess

        return SourceProcess(replica)
    from arroyo.runner.relay.relay_process import RelayProcess
    from arroyo.runner.user_code.loading import build_stage

    if made is None:
        made = build_stage(replica.chain, replica.stage)
    return RelayProcess(replica, made)
