"""`arroyo-supervise CHAIN`: runs a chain, watches it and restarts its stages."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import click

from arroyo.config.reader import find_chain, load_chain

from .exits import Command, exiting


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
    path = find_chain(chain)
    if in_process:
        from arroyo.runner.in_process import run_and_count
        from arroyo.supervision.decisions.totals import QUARANTINED
        from arroyo.telemetry.console import Console
        from arroyo.telemetry.logs import configure_logging

        loaded = load_chain(path)
        configure_logging(None, loaded.name, loaded.name, Console(1))
        with _leaving():
            counts = run_and_count(loaded)
            sys.exit(QUARANTINED if any(each["quarantined"] for each in counts.values()) else 0)
    from arroyo.metrics import http_child as metrics
    from arroyo.supervision.startup import supervise

    return supervise(load_chain(path), http=metrics.main)


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """End this process with the block, whatever threads the stages' code has left running."""
    from arroyo.runner.process.stage_process import leave

    try:
        with exiting():
            yield
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else 0)
