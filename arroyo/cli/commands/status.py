"""`arroyo status CHAIN`: what each replica of a chain is doing."""

from __future__ import annotations

import json
import os

import click

from arroyo.cli.exits import Command
from arroyo.cli.output.watching import watch
from arroyo.config.quantities import parse_duration
from arroyo.config.reader import find_chain
from arroyo.control.accepted_chain import load_accepted
from arroyo.supervision.live.live_chain import LiveChain
from arroyo.supervision.reporting.history_report import read_history
from arroyo.supervision.reporting.status import read_status
from arroyo.supervision.reporting.status_table import status_table


@click.command("status", cls=Command)
@click.argument("chain")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--watch",
    "every",
    is_flag=False,
    flag_value="1 s",
    metavar="[DURATION]",
    help="Show rates and what holds the chain up, again and again, each second or DURATION.",
)
@click.option(
    "--history",
    metavar="STAGE[.R]",
    help="Print the stacks of a stage's threads and its last transitions; or of 'supervisor'.",
)
def command(*, chain: str, as_json: bool, every: str | None, history: str | None) -> None:
    r"""Show what CHAIN, a chain file or a running chain's name, is doing.

    Stages that were started by hand or by systemd are shown like supervised ones.

    \b
    Examples:
    arroyo status powder --json
    arroyo status powder --watch
    arroyo status powder --watch '1 min' >> powder.txt
    """
    _require_one(as_json=as_json, every=every, history=history)
    if every is not None:
        every_s = _seconds(every)
        watch(LiveChain(find_chain(chain), os.environ), every_s)
    loaded = load_accepted(find_chain(chain))
    if history is not None:
        click.echo(read_history(loaded, os.environ, history), nl=False)
        return
    status = read_status(loaded, os.environ)
    click.echo(json.dumps(status) if as_json else status_table(status))


def _require_one(*, as_json: bool, every: str | None, history: str | None) -> None:
    chosen = {"--json": as_json, "--watch": every is not None, "--history": history is not None}
    given = [option for option, is_given in chosen.items() if is_given]
    if len(given) > 1:
        raise click.UsageError(
            f"found {' with '.join(given)}, each of which is another way to show it; leave one out"
        )


def _seconds(every: str) -> float:
    try:
        return parse_duration(every)
    except ValueError as error:
        raise click.UsageError(f"--watch: {error}; CHAIN stands before --watch") from error
