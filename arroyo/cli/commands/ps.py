"""`arroyo ps`: the chains of this host."""

from __future__ import annotations

import json
import os

import click

from arroyo.cli.exits import Command
from arroyo.supervision.reporting.chain_list import chains_table, read_chains


@click.command("ps", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print a list of JSON objects.")
def command(*, as_json: bool) -> None:
    r"""List the chains of this host that you have started: running or not, since when, how well.

    'ready' counts the stages of which all processes are READY, among all of the chain. Chains of
    other users are not shown.

    \b
    Example:
    arroyo ps --json
    """
    chains = read_chains(os.environ)
    click.echo(json.dumps(chains) if as_json else chains_table(chains))
