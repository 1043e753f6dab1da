"""`arroyo metrics CHAIN`: serves a chain's figures to Prometheus."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import click

from arroyo.cli.exits import Command
from arroyo.config.http_address import HttpAddress
from arroyo.config.reader import find_chain
from arroyo.connectors.extras import needed_for


class Address(click.ParamType[HttpAddress]):
    """Where to serve."""

    name = "host:port"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> HttpAddress:
        """Return the address; what is none is an error of the command line."""
        try:
            return HttpAddress.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


listen_option = partial(
    click.option,
    "--listen",
    type=Address(),
    metavar="HOST:PORT",
    show_default=True,
    help="Where to serve; port 0 is any free one.",
)


@click.command("metrics", cls=Command)
@click.argument("chain")
@listen_option(default="127.0.0.1:9464")
def command(chain: str, listen: HttpAddress) -> None:
    r"""Serve the figures of CHAIN, a chain file or the name of a chain, until Ctrl-C.

    /metrics is for Prometheus. /health is for whoever only wants to know: it answers 200 while all
    processes are READY, else 503, with the states of those that are not. The chain may be started,
    stopped and restarted meanwhile. Nothing can be changed from here.

    \b
    Example:
    arroyo metrics powder --listen 127.0.0.1:9465
    """
    path = find_chain(chain)
    with needed_for("arroyo metrics", "metrics"):
        from arroyo.metrics.serving import serve
    serve(path, listen, os.environ, click.echo)
