"""`arroyo units CHAIN`: writes systemd units, to look at or to install."""

from __future__ import annotations

import os
import pwd
import re
import sysconfig
from pathlib import Path

import click

from arroyo.cli.exits import Command
from arroyo.config.reader import find_chain, load_chain
from arroyo.durable.replaced_file import replace_file
from arroyo.errors import ConfigurationError, UsageError
from arroyo.supervision.units import render_units


@click.command("units", cls=Command)
@click.argument("chain")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder to write to; default: print them."
)
@click.option("--user", help="Who runs the chain; default: you.")
def command(chain: str, output: Path | None, user: str | None) -> None:
    """Write systemd units for CHAIN.

    arroyo-CHAIN.service runs the whole chain under its supervisor; arroyo-CHAIN.target runs one
    unit per stage. Enable one of the two.
    """
    units = render_units(load_chain(find_chain(chain)), _programs(), _check_user(user))
    if output is None:
        click.echo("\n".join(f"# {name}\n{text}" for name, text in units.items()), nl=False)
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            replace_file(output / name, text.encode(), sync=False, mode=0o666)
            click.echo(f"wrote {output / name}")
    except OSError as error:
        raise UsageError(
            f"the units can't be written to {output}: {error.strerror}; "
            "name a folder of yours with --output and copy them as root"
        ) from error


def _programs() -> Path:
    """Return the folder of the commands of this Python."""
    programs = Path(sysconfig.get_path("scripts"))
    if not (programs / "arroyo-stage").exists():
        raise ConfigurationError(
            f"there is no arroyo-stage in {programs}, and the units would start it from there; "
            "install arroyo with pip in the environment that is to run the chain"
        )
    return programs


def _check_user(user: str | None) -> str:
    if user is None:
        return pwd.getpwuid(os.geteuid()).pw_name
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", user, re.ASCII):
        raise UsageError(f"--user {user!r} is not the name of a user, such as 'arroyo'")
    return user
