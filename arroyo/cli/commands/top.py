"""`arroyo top CHAIN`: a chain on the whole terminal, once a second."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

import click

from arroyo.cli.exits import Command
from arroyo.cli.output.log_lines import Layout, WantedLogs
from arroyo.config.reader import find_chain
from arroyo.connectors.extras import needed_for
from arroyo.supervision.live.chain_view import ChainView
from arroyo.supervision.live.live_chain import LiveChain
from arroyo.supervision.live.running_chain import RunningChain
from arroyo.supervision.reporting.history_report import read_history
from arroyo.telemetry.log_merge import LogMerge
from arroyo.telemetry.logs import LogLine

from .logs import NewLines

LOGS_OF = timedelta(hours=1)
"""Older lines of a log are not shown: to read months of them would take long."""


@click.command("top", cls=Command)
@click.argument("chain")
def command(chain: str) -> None:
    r"""Show what CHAIN, a chain file or a running chain's name, does, once a second.

    Stages stand as `arroyo graph` draws them, with rates, latencies, what is in flight, and the
    shares of time in which they are busy or blocked; a line names the stage that holds the chain
    up. From there logs and history of a stage are one key away, and orders: restart, stop, start,
    scale; each of these asks before. `?` shows the keys. A chain that is stopped is waited for.

    \b
    Example:
    arroyo top powder
    """
    with needed_for("arroyo top", "tui"):
        from arroyo.cli.terminal.app import TopApp
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise click.UsageError(f"top needs a terminal; without one: arroyo status {chain} --watch")
    top = TopChain(chain)
    top.look()  # what is wrong is said before the screen is taken
    TopApp(top).run()


class TopChain:
    """The chain that `top` shows, with what its keys do.

    Raises
    ------
    ConfigurationError, UsageError
        As `LiveChain`.
    """

    def __init__(self, chain: str) -> None:
        self._file = find_chain(chain)
        self._live = LiveChain(self._file, os.environ)

    def look(self) -> ChainView:
        """Return the view of the chain as it is now."""
        return self._live.look()

    def history(self, name: str) -> str:
        """Return stacks and last transitions of a stage or replica."""
        return read_history(self._live.chain, os.environ, name)

    def logs(self, name: str) -> Logs:
        """Return the logs of a stage or replica."""
        return Logs(WantedLogs(str(self._file), name))

    def restart(self, name: str) -> str:
        """Restart a stage or replica in order; return what will be done."""
        return f"restarting {', '.join(self._running.restart(name))}"

    def stop(self, name: str) -> str:
        """Stop a stage or replica in order; return what will be done."""
        return f"stopping {', '.join(self._running.stop(name))}"

    def start(self, name: str) -> str:
        """Start a stage or replica that is stopped or has FAILED; return what will be done."""
        return self._running.start(name)

    def scale(self, stage: str, number: int) -> str:
        """Have so many processes of a stage work; return what will be done."""
        return self._running.scale(stage, number).say("stopping")

    @property
    def _running(self) -> RunningChain:
        return RunningChain(str(self._file))


class Logs:
    """The logs of a stage, of the last hour and as they grow."""

    def __init__(self, wanted: WantedLogs) -> None:
        names = list(filter(wanted.has, wanted.names))
        self._layout = Layout(wanted.names, names)
        self._lines = NewLines(wanted, datetime.now(UTC) - LOGS_OF)
        self._merge = LogMerge[LogLine]()
        self._is_first = True

    def read(self) -> str:
        """Return what was added since the last call, in order of time."""
        new = self._lines.read()
        lines = self._merge.merge(new) if self._is_first else self._merge.add(new)
        self._is_first = False
        return "".join(self._layout.text(line.stage, line) for line in lines)

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
