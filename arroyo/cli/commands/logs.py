"""`arroyo logs CHAIN`: the logs of all its processes as one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import click

from arroyo.cli.exits import Command
from arroyo.cli.output.log_lines import Layout, Since, WantedLogs, in_order, level_of
from arroyo.telemetry.log_reader import LogReader
from arroyo.telemetry.logs import LogLine

LEVELS = ("INFO", "WARNING", "ERROR", "CRITICAL")


@click.command("logs", cls=Command)
@click.argument("chain")
@click.argument("stage", required=False, metavar="[STAGE[.R]]")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines, until Ctrl-C.")
@click.option(
    "--level",
    type=click.Choice(LEVELS, case_sensitive=False),
    help="Leave out lines below this level.",
)
@click.option("--since", type=Since(), help="Leave out older lines: '10 min', '2 h', 30 (s).")
def command(
    *, chain: str, stage: str | None, follow: bool, level: str | None, since: datetime | None
) -> None:
    r"""Show the logs of CHAIN, a chain file or the name of a chain that ran, in order of time.

    They are those of all processes and of the supervisor, or those of one STAGE, of one process
    STAGE.R, or of 'supervisor'; rotated files come first. The chain need not run.

    \b
    Examples:
    arroyo logs powder -f --level WARNING
    arroyo logs powder integrate.0 --since '10 min'
    """
    wanted = WantedLogs(chain, stage)
    least = logging.getLevelName(level.upper()) if level else logging.NOTSET
    layout = Layout(wanted.names, wanted.names)
    with closing(NewLines(wanted, since)) as new_lines:
        for line in in_order(new_lines.read, follow=follow):
            if level_of(line) >= least:
                sys.stdout.write(layout.text(line.stage, line))


class NewLines:
    """What is added to the logs that are asked for, also to those that appear meanwhile."""

    def __init__(self, wanted: WantedLogs, since: datetime | None) -> None:
        self._wanted = wanted
        self._since = since
        self._readers: dict[str, LogReader[LogLine]] = {}

    def read(self) -> dict[str, Iterator[LogLine]]:
        """Return the lines since the last call, by process."""
        for name in filter(self._wanted.has, self._wanted.run_directory.logs):
            if name not in self._readers:
                log = self._wanted.run_directory.log(name)
                self._readers[name] = LogReader(log, LogLine, self._since)
        return {name: reader.read() for name, reader in self._readers.items()}

    def close(self) -> None:
        """Close all files."""
        for reader in self._readers.values():
            reader.close()
