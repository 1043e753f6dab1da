"""`arroyo schema`: the JSON Schema of chain.toml, for editors."""

from __future__ import annotations

import click

from .exits import Command


@click.command(cls=Command)
def command() -> None:
    """Print the JSON Schema of chain.toml, which editors complete and check keys with."""
    from arroyo.config.json_schema import render_schema

    click.echo(render_schema(), nl=False)
