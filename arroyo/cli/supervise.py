"""`arroyo-supervise CHAIN`: runs a chain, watches it and restarts its stages."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator

import click

from arroyo.config.graph import Chain
from arroyo.config.reader import find_chain, load_chain

from .exits import Command, exiting

_log = logging.getLogger(__name__)


@click.command("arroyo-supervise", cls=Command)
@click.argument("chain")
@click.option(
    "--in-process",
    is_flag=True,
    help="Run all stages as threads of this one process, for a debugger; nothing is restarted.",
)
def main(chain: str, in_process: bool) -> int | None:
    """Run CHAIN, a chain file or the name of a chain that was started before.

    Ctrl-C (or SIGTERM) stops it in order: sources first, then the rest drains. The second stops it
    now. Exit codes: 0 all is finished; 65 messages are in quarantine; 1 something was lost or left
    undone; 78 the chain file is wrong; 75 the chain runs already.
    """
    if os.getpid() == 1:
        # Of a container: until the loop takes it, the kernel would drop a SIGTERM for process 1.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    loaded = load_chain(find_chain(chain))
    if in_process:
        with _leaving():
            sys.exit(_run_in_process(loaded))
    from arroyo.metrics import http_child as metrics
    from arroyo.supervision.startup import supervise

    return supervise(loaded, http=metrics.main)


def _run_in_process(chain: Chain) -> int:
    """Run a chain, say how it has ended, and return its exit code."""
    from arroyo.runner.in_process import run_and_count
    from arroyo.supervision.decisions.totals import QUARANTINED, ExitStatus, say_messages
    from arroyo.supervision.reporting.console_report import describe_outcome
    from arroyo.telemetry.console import Console
    from arroyo.telemetry.logs import configure_logging

    if isinstance(sys.stdout, io.TextIOWrapper):
        # As in processes of their own: what stages print comes in its place, not at the end.
        sys.stdout.reconfigure(line_buffering=True)
    configure_logging(None, chain.name, chain.name, Console(1))
    begun_s = time.monotonic()
    counts = run_and_count(chain)
    status = ExitStatus(0)
    if aside := sum(each["quarantined"] for each in counts.values()):
        status = ExitStatus(QUARANTINED, (f"{say_messages(aside)} in quarantine",))
    _log.info("%s", describe_outcome(chain, status, time.monotonic() - begun_s))
    return status.exit_code


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """End this process with the block, whatever threads the stages' code has left running."""
    from arroyo.runner.process.stage_process import leave

    try:
        with exiting():
            yield
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else 0)
