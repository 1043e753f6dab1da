"""`arroyo restart CHAIN [STAGE[.R]]`: has the supervisor restart stages in order."""

from __future__ import annotations

import click

from arroyo.errors import UsageError

from .exits import Command
from .running_chain import RunningChain


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
    click.echo(f"{restart(running, stage)}; see: arroyo events {running.name} -f")


def restart(running: RunningChain, stage: str | None) -> str:
    """Have a stage or replica restarted, or all (None); return what will be done.

    Raises
    ------
    UnavailableError
        No supervisor answers.
    UsageError
        There is nothing to restart.
    """
    replicas = running.ask("restart", stage)["replicas"]
    if not replicas:
        raise UsageError(
            f"{stage or running.name} has finished or is stopped; there is nothing to restart"
        )
    return f"restarting {', '.join(replicas)}"
