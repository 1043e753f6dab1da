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
    """Serve the figures of a chain; parameters and errors as those of `web.serving.serve`.

    ConfigurationError: the chain file, `path`, has mistakes.
    UsageError: the chain can't be seen from here.
    """
    exporter = Exporter(path, environ)
    serving.serve(
        HttpServer(address, exporter.answer),
        say,
        lambda at: f"serving chain {exporter.chain} at http://{at}/metrics and /health",
        lifeline=lifeline,
    )
