"""`arroyo restart CHAIN [STAGE[.R]]`: has the supervisor restart stages in order."""

from __future__ import annotations

import click

from arroyo.cli.exits import Command, standing_order
from arroyo.supervision.decisions.totals import UNWELL
from arroyo.supervision.live.running_chain import RunningChain


@click.command("restart", cls=Command)
@click.argument("chain")
@click.argument("stage", required=False, metavar="[STAGE[.R]]")
def command(chain: str, stage: str | None) -> int:
    r"""Restart a STAGE of CHAIN, one process STAGE.R of it, or all stages, sinks first.

    One process after the other drains and starts again; the next one follows when it is READY. So
    nothing is lost, and other replicas work on. What has FAILED, or waits for its restart, is tried
    again at once; what `arroyo stop` has stopped stays so. A listener that is restarted ends its
    run.

    The command waits until all are READY again. If one fails, the next ones run on as they are,
    and the exit code is 1. Ctrl-C ends the command, and takes nothing back.

    \b
    Examples:
    arroyo restart powder integrate
    arroyo restart powder integrate.1
    """
    running = RunningChain(chain)
    former = running.restart(stage)
    click.echo(f"restarting {', '.join(former)}")
    with standing_order(running.name):
        found = running.wait_until_restarted(former, lambda said: click.echo(said, err=True))
    if found.done:
        click.echo(f"restarted {', '.join(found.done)}")
    if found.ended:
        click.echo(f"not started again, as finished or stopped: {', '.join(found.ended)}")
    if found.left:
        click.echo(f"not restarted: {', '.join(found.left)}", err=True)
    for name, why in found.failed.items():
        click.echo(f"error: {name} {why}; see: arroyo logs {running.name} {name}", err=True)
    return UNWELL if found.failed or found.left else 0
