"""`arroyo scale CHAIN STAGE N`: has more or fewer processes of a stage work."""

from __future__ import annotations

import click

from arroyo.cli.exits import Command, standing_order
from arroyo.control.requests import NUMBER_MAX
from arroyo.supervision.live.running_chain import RunningChain


@click.command("scale", cls=Command)
@click.argument("chain")
@click.argument("stage")
@click.argument("number", type=click.IntRange(1, NUMBER_MAX), metavar="N")
def command(chain: str, stage: str, number: int) -> None:
    r"""Have N processes of a STAGE of the running CHAIN work, and stop the others.

    N may be up to the replicas of the stage in the chain file, with which a chain starts. Those
    with the highest numbers finish what they have in hand and stop, and the command waits for
    that; nothing is lost. Those that come back share the work as soon as they are READY.

    \b
    Examples:
    arroyo scale powder integrate 1
    arroyo scale powder integrate 4
    """
    running = RunningChain(chain)
    scaled = running.scale(stage, number)
    with standing_order(running.name):
        running.wait_until_stopped(scaled.stopping)
    click.echo(scaled.say("stopped"))
