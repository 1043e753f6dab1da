"""`arroyo check`: every mistake of a chain, before it starts."""

from __future__ import annotations

import click

from arroyo.cli.exits import Command
from arroyo.config.reader import find_chain, load_chain
from arroyo.errors import ConfigurationError
from arroyo.runner.user_code.checking import check_in_child


@click.command(cls=Command)
@click.argument("chain")
def command(chain: str) -> None:
    """Find every mistake in CHAIN: keys, wiring, classes, options, processors, ports.

    For the stages that are part of Arroyo, also missing folders and libraries.

    Nothing is started. Each mistake is one line on stderr that begins with its place; the exit
    code is 78 if there are any.
    """
    path = find_chain(chain)
    if problems := check_in_child(path):
        raise ConfigurationError(*problems)
    good = load_chain(path)
    stages, processes = len(good.stages), len(good.replicas)
    size = f"{_count(stages, 'stage')}, {_count(processes, 'process', 'es')}"
    click.echo(f"{good.name}: no mistakes found ({size})")


def _count(number: int, word: str, plural: str = "s") -> str:
    return f"{number} {word}{'' if number == 1 else plural}"
