"""`arroyo dashboard CHAIN`: a page on which people see what a chain does."""

from __future__ import annotations

import os

import click

from arroyo.cli.exits import Command
from arroyo.config.http_address import HttpAddress
from arroyo.config.reader import find_chain
from arroyo.dashboard.serving import serve

from .metrics import listen_option


@click.command("dashboard", cls=Command)
@click.argument("chain")
@listen_option(default="127.0.0.1:8470")
@click.option(
    "--allow-control",
    is_flag=True,
    help="Let people restart and scale stages, set parameters, reload, and empty the quarantine.",
)
def command(chain: str, listen: HttpAddress, *, allow_control: bool) -> None:
    r"""Serve a live page of CHAIN, a chain file or the name of a chain, until Ctrl-C.

    The page shows what `arroyo top` does as a graph, and with it events, logs and quarantine. It
    needs no internet. The chain may be started, stopped and restarted meanwhile, and takes no
    notice of the page. Nothing can be changed from there, unless --allow-control is given; then the
    event log has what was, as for commands. Open the address as it is printed: the token behind
    the # keeps out other users of this host, and is another one each time.

    \b
    Examples:
    arroyo dashboard powder
    arroyo dashboard chain.toml --listen 127.0.0.1:8471
    arroyo dashboard powder --allow-control
    ssh -L 8470:127.0.0.1:8470 beamline       # then open the same address at home
    """
    serve(find_chain(chain), listen, os.environ, click.echo, takes_orders=allow_control)
