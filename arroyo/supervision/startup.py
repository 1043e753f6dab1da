"""`supervise`: runs a chain under a supervisor.

Before the loop: the lock of the one supervisor of a chain, the folders, a check of the chain file,
the log and the console.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path

from arroyo.clock import SystemClock
from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import Lock, owner
from arroyo.control.notify import Notifier
from arroyo.control.shared_folders import settle_folders, settling
from arroyo.errors import AlreadyRunningError, ConfigurationError
from arroyo.runner.user_code.checking import check_in_child
from arroyo.telemetry.console import Console
from arroyo.telemetry.logs import configure_logging, is_journal

from .loop import Supervisor
from .reporting.event_log import EventLog
from .reporting.reporter import Reporter
from .watching import child
from .watching.event_hook import EventHook
from .watching.orphans import adopt_orphans
from .watching.processes import Spawner
from .watching.spawning import Target


def supervise(
    chain: Chain,
    environ: MutableMapping[str, str] = os.environ,
    target: Target = child.main,
    check: Callable[[Path, Path | None], Sequence[str]] = check_in_child,
    http: Target | None = None,
) -> int:
    """Run a chain until it has finished or was stopped; return the exit code for it.

    Parameters
    ----------
    environ
        Says where the run directory is, and what systemd wants. What the stages must not
        inherit is taken out of it.
    check
        Finds the mistakes of a chain file that make it useless to start anything; the second
        argument is the copy that stages will read.
    http
        The process that serves the chain's metrics, if the chain file says where.

    Raises
    ------
    AlreadyRunningError
        The chain has a supervisor.
    ConfigurationError
        The chain has mistakes, or the run directory can't be made or used.
    """
    run_directory = RunDirectory.locate(chain.name, environ)
    run_directory.create()
    with contextlib.ExitStack() as resources:
        with settling(run_directory):
            try:
                lock = Lock.acquire(run_directory.lock("supervisor"))
            except AlreadyRunningError as error:
                raise _already_running(chain, run_directory) from error
            resources.callback(lock.release)
            folders = settle_folders(chain, environ, lock)
        folders.run.forget_versions()  # of one that was killed
        resources.callback(folders.run.forget_versions)
        copy = folders.run.keep_version(chain.text) if chain.text else None
        adopt_orphans()
        resources.callback(adopt_orphans, adopt=False)
        # Before the check, since the fork server imports libraries meanwhile.
        spawner = Spawner(chain, folders, {"NOTIFY_SOCKET": str(folders.run.notify)}, target)
        resources.callback(spawner.close)
        if problems := check(chain.path, copy):
            raise ConfigurationError(*problems)
        if chain.text:
            folders.run.accept_version(chain.text)
        hook = EventHook(chain.supervision.on_event, chain.folder)
        resources.callback(hook.close)
        reporter = resources.enter_context(_reporter(chain, folders.run, environ, hook))
        supervisor = Supervisor(
            chain,
            folders,
            lock,
            notifier=Notifier.from_environ(environ),
            reporter=reporter,
            hook=hook,
            spawner=spawner,
            clock=SystemClock(),
            http=http,
        )
        resources.callback(supervisor.close)
        return supervisor.run()


def _already_running(chain: Chain, run_directory: RunDirectory) -> AlreadyRunningError:
    file = run_directory.chain_file(chain.name)
    return AlreadyRunningError(
        f'chain "{chain.name}" is already running (supervisor pid '
        f"{owner(run_directory.lock('supervisor'))}{f', started from {file}' if file else ''}); "
        "stop it first, or give this chain another name"
    )


@contextlib.contextmanager
def _reporter(
    chain: Chain, run_directory: RunDirectory, environ: MutableMapping[str, str], hook: EventHook
) -> Iterator[Reporter]:
    """Open the supervisor's log and console."""
    # Under systemd the lines of the log are in the journal already.
    console = None if is_journal(2) else Console(1)
    configure_logging(
        run_directory.log("supervisor"),
        "supervisor",
        chain.name,
        console and Console(1),
        console_level=logging.WARNING,
    )
    colour = console is not None and console.is_terminal and not environ.get("NO_COLOR")
    events = EventLog(run_directory.events, chain.name, SystemClock(), hook.offer)
    with (
        contextlib.closing(console) if console else contextlib.nullcontext(),
        contextlib.closing(Reporter(console, colour, run_directory, events)) as reporter,
    ):
        yield reporter
