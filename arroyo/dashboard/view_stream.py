"""`ViewStream`: what a chain shows now, for all pages that are open.

The chain is looked at once for all of them, and not at all while none is open. Nothing waits for a
page that is slow: it gets the newest view, and misses those before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable


class ViewStream:
    """Looks at a chain again and again.

    Parameters
    ----------
    look
        Returns what is to be shown, as JSON; called in another thread.
    """

    def __init__(self, look: Callable[[], bytes], every_s: float) -> None:
        self._look = look
        self._every_s = every_s
        self._pages = 0
        self._looking: asyncio.Task[None] | None = None
        self._newest = b""
        self._fresh = asyncio.Event()

    async def follow(self) -> AsyncGenerator[bytes, None]:
        """Yield views as server-sent events, for one page."""
        self._pages += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_again_and_again())
        try:
            if self._newest:
                yield self._newest
            while True:
                await self._fresh.wait()
                yield self._newest
        finally:
            self._pages -= 1

    async def _look_again_and_again(self) -> None:
        """Look until no page is open any more."""
        loop = asyncio.get_running_loop()
        try:
            while self._pages:
                due_s = loop.time() + self._every_s
                self._newest = b"data: " + await asyncio.to_thread(self._look) + b"\n\n"
                fresh, self._fresh = self._fresh, asyncio.Event()
                fresh.set()
                await asyncio.sleep(due_s - loop.time())
        finally:
            self._looking, self._newest = None, b""
