"""`arroyo stop CHAIN [STAGE[.R]]`: stops a whole chain, or holds one of its stages."""

from __future__ import annotations

import click

from arroyo.cli.exits import Command, say_last, standing_order
from arroyo.supervision.decisions.totals import UNWELL
from arroyo.supervision.live.running_chain import RunningChain


@click.command("stop", cls=Command)
@click.argument("chain")
@click.argument("stage", required=False, metavar="[STAGE[.R]]")
def command(chain: str, stage: str | None) -> int:
    r"""Stop CHAIN, or a STAGE of it, or one process STAGE.R, in order, and wait for that.

    The whole chain stops as after SIGTERM to its supervisor: sources first, then the rest drains,
    all within stop_timeout_s. The command ends with the chain, and with its exit code.

    A stage finishes what it has in hand and stays STOPPED until `arroyo start`. Messages for it
    wait, and slow the source once its window is full; on pub-sub links they pass by. Ctrl-C ends
    the command, and takes nothing back.

    \b
    Examples:
    arroyo stop powder
    arroyo stop powder integrate.1
    """
    running = RunningChain(chain)
    if stage is None:
        answer = running.ask("stop")
        for warning in running.warnings_of(answer["in_the_way"]):
            click.echo(warning, err=True)
        with standing_order(running.name):
            account = running.wait_for_end(answer["pid"])
        if account is None or account.exit_code is None:
            raise click.ClickException(
                f"chain {running.name} has ended without an account; "
                f"see: arroyo logs {running.name} supervisor"
            )
        say_last(account.message)
        return account.exit_code
    replicas = running.stop(stage)
    with standing_order(running.name):
        deaths = running.wait_until_stopped(replicas)
    click.echo(
        f"stopped {', '.join(replicas)}; it goes on with: arroyo start {running.name} {stage}"
    )
    for death in deaths:
        click.echo(f"warning: {death}", err=True)
    return UNWELL if deaths else 0
