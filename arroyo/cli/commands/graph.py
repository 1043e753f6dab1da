"""`arroyo graph`: a drawing of a chain."""

from __future__ import annotations

import sys
from typing import TextIO

import click

from arroyo.cli.exits import Command
from arroyo.cli.output.drawing import ASCII, DRAWINGS, UNICODE, draw_tree
from arroyo.config.reader import find_chain, load_chain


@click.command(cls=Command)
@click.argument("chain")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(DRAWINGS)),
    default="terminal",
    show_default=True,
    help="Format of the drawing.",
)
def command(chain: str, form: str) -> None:
    """Draw CHAIN: its stages, and the links between them."""
    good = load_chain(find_chain(chain))
    if form == "terminal" and not _writes_unicode(sys.stdout):
        click.echo(draw_tree(good, ASCII), nl=False)
    else:
        click.echo(DRAWINGS[form](good), nl=False)


def _writes_unicode(stream: TextIO) -> bool:
    try:
        "".join(UNICODE).encode(stream.encoding)
    except UnicodeEncodeError:
        return False
    return True
