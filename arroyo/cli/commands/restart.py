"""`arroyo restart CHAIN [STAGE[.R]]`: has the supervisor restart stages in order."""

from __future__ import annotations

import click

from arroyo.cli.exits import Command
from arroyo.supervision.live.running_chain import RunningChain


@click.command("restart", cls=Command)
@click.argument("chain")
@click.argument("stage", required=False, metavar="[STAGE[.R]]")
def command(chain: str, stage: str | None) -> None:
    r"""Restart a STAGE of CHAIN, one process STAGE.R of it, or all stages, sinks first.

    One process after the other drains and starts again; the next one follows when it is READY. So
    nothing is lost, and other replicas work on. What has FAILED, or waits for its restart, is tried
    again at once; what `arroyo stop` has stopped stays so. A listener that is restarted ends its
    run.

    \b
    Examples:
    arroyo restart powder integrate
    arroyo restart powder integrate.1
    """
    running = RunningChain(chain)
    click.echo(f"{running.restart(stage)}; see: arroyo events {running.name} -f")
