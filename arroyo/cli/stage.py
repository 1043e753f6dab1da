"""`arroyo-stage CHAIN STAGE`: runs one stage by hand, or under systemd."""

from __future__ import annotations

import click

from arroyo.config.reader import find_chain

from .exits import Command


@click.command("arroyo-stage", cls=Command)
@click.argument("chain")
@click.argument("stage")
@click.option("--replica", type=click.IntRange(min=0), default=0, help="Which one, from 0.")
def main(chain: str, stage: str, replica: int) -> None:
    """Run one replica of STAGE of CHAIN (a chain file, or the name of a chain that ran before).

    It finds the other stages by itself, however and in whatever order they are started. The first
    SIGTERM or Ctrl-C drains it, the second stops it now.
    """
    from arroyo.runner.process.stage_process import leave, run_stage

    leave(run_stage(str(find_chain(chain)), stage, replica))
