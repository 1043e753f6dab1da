"""`arroyo status CHAIN`: what each replica of a chain is doing."""

from __future__ import annotations

import json
import os

import click

from arroyo.config.reader import find_chain, load_chain
from arroyo.supervision.reporting.history import read_history
from arroyo.supervision.reporting.status import read_status, status_table

from .exits import Command


@click.command("status", cls=Command)
@click.argument("chain")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--history",
    metavar="STAGE[.R]",
    help="Print the stacks of a stage's threads and what it did last; 'supervisor' has one, too.",
)
def command(chain: str, as_json: bool, history: str | None) -> None:
    """Show what CHAIN, a chain file or a running chain's name, is doing.

    Stages that were started by hand or by systemd are shown like supervised ones.
    """
    loaded = load_chain(find_chain(chain))
    if history is not None:
        if as_json:
            raise click.UsageError("--history is for people; it has no --json")
        click.echo(read_history(loaded, os.environ, history), nl=False)
        return
    status = read_status(loaded, os.environ)
    click.echo(json.dumps(status) if as_json else status_table(status))
