"""`arroyo set CHAIN STAGE [NAME=VALUE]...`: parameters of a stage, changed while it works."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from arroyo.cli.exits import Command, standing_order
from arroyo.config.parameters import parse_assignment, say, say_all
from arroyo.supervision.live.running_chain import RunningChain


@click.command("set", cls=Command)
@click.argument("chain")
@click.argument("stage")
@click.argument("assignments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, chain: str, stage: str, assignments: Sequence[str], as_json: bool) -> None:
    r"""Set parameters of a STAGE of the running CHAIN, or show them.

    VALUE is written as in the chain file; what is no value there is text. All processes of the
    stage take it between two messages, and the command waits for that; Ctrl-C ends the command, and
    takes nothing back. If one refuses it, all keep their old values. It holds until the chain ends,
    also for processes that are started anew; after that, the chain file counts.

    \b
    Examples:
    arroyo set powder integrate
    arroyo set powder integrate threshold=700
    arroyo set powder integrate threshold=700 mode=fast 'mask=[3, 4]'
    """
    wanted = _parse(assignments)
    running = RunningChain(chain)
    if wanted:
        with standing_order(running.name):
            running.set_parameters(stage, wanted, say=lambda line: click.echo(line, err=True))
        click.echo(json.dumps(wanted) if as_json else f"{stage}: {say_all(wanted)}")
        return
    shown = running.ask("parameters", stage)["parameters"]
    if as_json:
        click.echo(json.dumps({name: each["value"] for name, each in shown.items()}))
    else:
        click.echo("\n".join(_line(name, each) for name, each in shown.items()))


def _parse(assignments: Sequence[str]) -> dict[str, Any]:
    try:
        return dict(map(parse_assignment, assignments))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _line(name: str, shown: dict[str, Any]) -> str:
    line = f"{name} = {say(shown['value'])}"
    if shown["value"] != shown["file"]:
        line += f"  (in the chain file: {say(shown['file'])}; set by {shown['by']})"
    return line
