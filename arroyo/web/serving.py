"""`serve`: serves on an address until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from arroyo.config.http_address import HttpAddress

from .http_server import HttpServer


def serve(
    server: HttpServer,
    say: Callable[[str], None],
    words: Callable[[HttpAddress], str],
    *,
    risk: Callable[[HttpAddress], str] = lambda address: address.warning,
    lifeline: int | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM comes.

    Parameters
    ----------
    say
        Takes sentences for people.
    words, risk
        Return what is said of the address, once there is one, and what people should know where it
        is not this host's alone.
    lifeline
        Descriptor that becomes readable when the supervisor dies; None: there is no supervisor.

    Raises
    ------
    ConfigurationError, UnavailableError
        As `HttpServer.run`.
    """

    def listening(address: HttpAddress) -> None:
        say(words(address))
        if not address.is_loopback:
            say(f"warning: {risk(address)}")

    async def serve_here() -> None:
        until = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, until.set)
        if lifeline is not None:
            loop.add_reader(lifeline, until.set)
        await server.run(until, listening)

    asyncio.run(serve_here())
