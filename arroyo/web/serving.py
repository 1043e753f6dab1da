"""`serve`: serves on an address until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from arroyo.config.http_address import HttpAddress

from .http_server import HttpServer


def serve(
    server: HttpServer, listening: Callable[[HttpAddress], None], lifeline: int | None = None
) -> None:
    """Serve until SIGINT or SIGTERM comes.

    Parameters
    ----------
    listening
        Called with the address, once there is one.
    lifeline
        Descriptor that becomes readable when the supervisor dies; None: there is no supervisor.

    Raises
    ------
    ConfigurationError, UnavailableError
        As `HttpServer.run`.
    """
    asyncio.run(_serve(server, listening, lifeline))


def announcing(
    say: Callable[[str], None],
    words: Callable[[HttpAddress], str],
    risk: Callable[[HttpAddress], str] = lambda address: address.warning,
) -> Callable[[HttpAddress], None]:
    """Return what tells people of an address that is served.

    `risk`: returns what they should know where it is not this host's alone.
    """

    def listening(address: HttpAddress) -> None:
        say(words(address))
        if not address.is_loopback:
            say(f"warning: {risk(address)}")

    return listening


async def _serve(
    server: HttpServer, listening: Callable[[HttpAddress], None], lifeline: int | None
) -> None:
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, until.set)
    if lifeline is not None:
        loop.add_reader(lifeline, until.set)
    await server.run(until, listening)
