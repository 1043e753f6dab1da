"""`arroyo events CHAIN`: what has happened to its stages."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import datetime
from typing import get_args

import click
import msgspec

from arroyo.cli.exits import Command
from arroyo.cli.output.log_lines import Layout, Since, WantedLogs, in_order
from arroyo.config.event_names import EventName
from arroyo.telemetry.event_line import EventLine
from arroyo.telemetry.log_reader import LogReader


@click.command("events", cls=Command)
@click.argument("chain")
@click.argument("stage", required=False, metavar="[STAGE[.R]]")
@click.option("-f", "--follow", is_flag=True, help="Go on with new events, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a JSON object.")
@click.option("--since", type=Since(), help="Leave out older events: '10 min', '2 h', 30 (s).")
def command(
    *, chain: str, stage: str | None, follow: bool, as_json: bool, since: datetime | None
) -> None:
    r"""Show what has happened to CHAIN, a chain file or the name of a chain that ran.

    Starts and ends of its processes, and why; restarts, hangs, orders and who gave them; messages
    that were lost or put into quarantine. Of all stages, or of one STAGE, one process STAGE.R, or
    'supervisor': the chain as a whole. The chain need not run.

    \b
    Examples:
    arroyo events powder --since '1 h'
    arroyo events powder integrate -f --json
    """
    wanted = WantedLogs(chain, stage)
    layout = Layout(wanted.names, get_args(EventName))
    with closing(LogReader(wanted.run_directory.events, EventLine, since)) as reader:
        for line in in_order(lambda: {"events": reader.read()}, follow=follow):
            if wanted.has(line.stage):
                text = msgspec.json.encode(line).decode() + "\n"
                sys.stdout.write(text if as_json else layout.text(line.event, line))
