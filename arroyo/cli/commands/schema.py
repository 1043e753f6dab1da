"""`arroyo schema`: the JSON Schema of chain.toml, for editors."""

from __future__ import annotations

import click

from arroyo.cli.exits import Command


@click.command(cls=Command)
def command() -> None:
    """Print the JSON Schema of chain.toml, with which editors complete and check keys."""
    from arroyo.config.schema import render_schema

    click.echo(render_schema(), nl=False)
