"""`arroyo`: the commands for chains.

Each command is a module of `commands` that exports `command`, imported when it is called. What
commands print is in `output`, the screen of `arroyo top` in `terminal`, and what `arroyo follow`
makes of what others say in `following`.
The table below is all that `arroyo --help` needs.
"""

from __future__ import annotations

import importlib

import click

from .exits import Group

COMMANDS = {
    "bench": "Measure how fast chains are on this machine.",
    "check": "Find every mistake in a chain file before it starts.",
    "dashboard": "Serve a live page of a chain.",
    "drain": "Have a chain finish all that is in flight.",
    "events": "Show what has happened to a chain and its stages.",
    "follow": "Set parameters of stages as Redis or other programs say.",
    "graph": "Draw a chain: in the terminal, as Mermaid or as DOT.",
    "logs": "Show the logs of all processes of a chain as one.",
    "metrics": "Serve the figures of a chain to Prometheus.",
    "new": "Write a small working chain to start from.",
    "ps": "List the chains of this host.",
    "quarantine": "Show messages in quarantine, send them again or drop them.",
    "reload": "Have a running chain follow its chain file as it is now.",
    "restart": "Restart a stage of a running chain, one process after the other.",
    "scale": "Have more or fewer processes of a stage work.",
    "schema": "Print the JSON Schema of chain.toml.",
    "set": "Change parameters of a stage while it works, or show them.",
    "start": "Start stages that were stopped, or have FAILED.",
    "status": "Show what a running chain is doing.",
    "stop": "Stop a chain, or hold one of its stages.",
    "tap": "Show messages that pass through a stage.",
    "top": "Show a chain on the whole terminal, once a second.",
    "units": "Write systemd units for a chain.",
}


class _LazyGroup(Group):
    """A group that knows its commands by name and imports the one that is called."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"arroyo.cli.commands.{name}").command
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
    """Check, watch and control chains of processes for live data.

    CHAIN is a chain file, or the name of a running chain. `arroyo-supervise CHAIN` runs one.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
