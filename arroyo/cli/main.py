"""`arroyo`: one command for all that can be done to a chain.

Each command is a module of this folder that exports `command`, imported when it is called.
The table below is all that `arroyo --help` needs.
"""

from __future__ import annotations

import importlib

import click

from .exits import Group

COMMANDS = {
    "bench": "Measure how fast chains are on this machine.",
    "check": "Find every mistake in a chain file before it starts.",
    "graph": "Draw a chain: in the terminal, as Mermaid or as DOT.",
    "new": "Write a small working chain to start from.",
    "quarantine": "Look at messages that were put aside; bring them back.",
    "schema": "Print the JSON Schema of chain.toml.",
    "status": "Show what a running chain is doing.",
    "units": "Write systemd units for a chain.",
}


class _LazyGroup(Group):
    """A group that knows its commands by name and imports the one that is called."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"arroyo.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            from arroyo.config.suggestions import did_you_mean

            meant = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"there is no command {args[0]!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, invoke_without_command=True)
@click.version_option(package_name="arroyo", message="%(package)s %(version)s")
@click.pass_context
def arroyo(ctx: click.Context) -> None:
    """Look at, check and steer chains of processes for live data.

    CHAIN is a chain file, or the name of a running chain. `arroyo-supervise CHAIN` runs one.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
