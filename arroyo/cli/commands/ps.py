"""`arroyo ps`: the chains of this host."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from arroyo.cli.exits import Command
from arroyo.supervision.decisions.events import State
from arroyo.supervision.reporting.chain_list import chains_table, read_chains


@click.command("ps", cls=Command)
@click.option("--all", "every", is_flag=True, help="List those that do not run, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of JSON objects.")
def command(*, every: bool, as_json: bool) -> None:
    r"""List the chains of this host that you have started and that run: since when, how well.

    'ready' counts the stages of which all processes are READY, among all of the chain. Chains of
    other users are not shown. One that does not run is listed by --all until its run directory is
    gone: after a reboot, or once you have removed it. --json has where it is.

    \b
    Examples:
    arroyo ps --json
    arroyo ps --all
    """
    known = read_chains(os.environ)
    chains = [chain for chain in known if every or _runs(chain)]
    if as_json:
        click.echo(json.dumps(chains))
    elif known and not chains:
        click.echo("no chain runs here as this user; those that ran: arroyo ps --all")
    else:
        click.echo(chains_table(chains))


def _runs(chain: dict[str, Any]) -> bool:
    return chain["pid"] is not None or chain["state"] != State.STOPPED
