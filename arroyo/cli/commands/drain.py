"""`arroyo drain CHAIN`: stops the listeners, and waits until all they have taken is finished."""

from __future__ import annotations

import click

from arroyo.cli.exits import Command, standing_order
from arroyo.errors import UsageError
from arroyo.supervision.decisions.totals import UNWELL
from arroyo.supervision.live.running_chain import RunningChain


@click.command("drain", cls=Command)
@click.argument("chain")
def command(chain: str) -> int:
    r"""Empty CHAIN: its listeners stop reading, and everything in flight is finished.

    The command waits for that, as long as it takes. The other stages stay up, so the chain goes on
    at once with `arroyo start`. A run that is under way ends. Ctrl-C ends the command, and takes
    nothing back.

    \b
    Example:
    arroyo drain powder && cp new.poni detector.poni && arroyo start powder
    """
    running = RunningChain(chain)
    answer = running.ask("drain")
    replicas = answer["replicas"]
    if not replicas:
        raise UsageError(
            f"the listeners of {running.name} have finished; there is nothing to drain"
        )
    for warning in running.warnings_of(answer["in_the_way"]):
        click.echo(warning, err=True)
    with standing_order(running.name):
        deaths = running.wait_until_stopped(replicas)
    for death in deaths:
        click.echo(f"warning: {death}; what it had in flight may be lost", err=True)
    if deaths:
        return UNWELL
    click.echo(f"drained; {', '.join(replicas)} goes on with: arroyo start {running.name}")
    return 0
