"""`serve`: the process that serves a chain's figures, by hand and under a supervisor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from arroyo.config.http_address import HttpAddress
from arroyo.web import serving
from arroyo.web.http_server import HttpServer

from .exporter import Exporter


def serve(
    path: Path,
    address: HttpAddress,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    lifeline: int | None = None,
) -> None:
    """Serve the figures of a chain until SIGINT or SIGTERM comes.

    Parameters
    ----------
    path
        The chain file.
    say
        Takes sentences for people.
    lifeline
        Descriptor that becomes readable when the supervisor dies; None: there is no supervisor.

    Raises
    ------
    ConfigurationError
        The chain file has mistakes, or the address is none of this host.
    UnavailableError
        Another program listens there.
    UsageError
        The chain can't be seen from here.
    """
    exporter = Exporter(path, environ)
    listening = serving.announcing(
        say, lambda at: f"serving chain {exporter.chain} at http://{at}/metrics and /health"
    )
    serving.serve(HttpServer(address, exporter.answer), listening, lifeline)
