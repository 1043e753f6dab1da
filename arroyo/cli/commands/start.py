"""`arroyo start CHAIN [STAGE[.R]]`: starts what was stopped, and what has FAILED."""

from __future__ import annotations

import click

from arroyo.cli.exits import Command
from arroyo.supervision.live.running_chain import RunningChain


@click.command("start", cls=Command)
@click.argument("chain")
@click.argument("stage", required=False, metavar="[STAGE[.R]]")
def command(chain: str, stage: str | None) -> None:
    r"""Start a STAGE of the running CHAIN, one process STAGE.R of it, or all that do not run.

    Those are what `arroyo stop` and `arroyo drain` have stopped, what has FAILED, which is tried
    again now, and what waits for its restart. A whole chain is started by `arroyo-supervise`.

    \b
    Examples:
    arroyo start powder integrate
    arroyo start powder
    """
    running = RunningChain(chain)
    click.echo(f"{running.start(stage)}; see: arroyo events {running.name} -f")
