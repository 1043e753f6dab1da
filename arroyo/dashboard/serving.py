"""`serve`: the process that serves the page of a chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from arroyo.config.http_address import HttpAddress
from arroyo.web import serving
from arroyo.web.access_token import AccessToken
from arroyo.web.http_server import HttpServer

from .chain_page import ChainPage


def serve(
    path: Path,
    address: HttpAddress,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    *,
    takes_orders: bool = False,
) -> None:
    """Serve the page of a chain; parameters and errors as those of `web.serving.serve`.

    `takes_orders`: the chain can be changed from the page.

    ConfigurationError: the chain file, `path`, has mistakes.
    UsageError: the chain can't be seen from here.
    """
    token = AccessToken()
    page = ChainPage(path, environ, token, takes_orders=takes_orders)
    serving.serve(
        HttpServer(address, page.answer, takes_orders=takes_orders),
        say,
        lambda at: f"chain {page.chain} is shown at http://{at}/#{token.text} until Ctrl-C",
        risk=lambda at: (
            f"whoever sees what travels to {at} can read it, and use the token; from another host, "
            "'ssh -L' to 127.0.0.1 is safe"
        ),
    )
