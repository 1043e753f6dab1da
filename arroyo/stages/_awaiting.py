"""`Awaiter`: runs what async methods of stages return.

The one file of this package that knows an event loop: an operator that is used by hand has nobody
else to run its coroutines.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_call: ContextVar[object] = ContextVar("arroyo_call", default=None)
"""The call that a coroutine belongs to. Tasks and threads that it starts by asyncio inherit it."""


class Awaiter:
    """Runs coroutines to their end, one at a time, all on one event loop.

    Connections that `open()` has made on that loop are good in `process()` and `close()`. Any
    thread may call it, one at a time. Where an event loop runs in the calling thread already (a
    notebook, an async `start()`), a thread of its own runs the coroutine, and the caller waits.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._running: object = None

    def finish(self, awaitable: Awaitable[T]) -> T:
        """Return what `awaitable` comes to."""
        import asyncio  # here, since loading it takes as long as half of a stage's start

        if self._runner is None:
            self._runner = asyncio.Runner()
        run: Callable[[Any], T] = self._runner.run
        self._running = call = object()
        try:
            return _beside_loops(lambda: run(_await(awaitable, call)))
        finally:
            self._running = None

    def collect(self, messages: AsyncIterable[T]) -> list[T]:
        """Return all that an async generator yields."""
        return self.finish(_collect(messages))

    @property
    def busy(self) -> bool:
        """Whether a coroutine is being run."""
        return self._running is not None

    @property
    def is_caller(self) -> bool:
        """Whether the calling code belongs to the coroutine that is being run."""
        return self.busy and _call.get() is self._running

    def close(self) -> None:
        """End the event loop, and what still runs on it."""
        if self._runner is not None:
            _beside_loops(self._runner.close)


def _beside_loops(call: Callable[[], T]) -> T:
    """Call something that runs an event loop, in another thread where this one runs a loop."""
    import asyncio

    if asyncio._get_running_loop() is None:
        return call()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "arroyo-await") as aside:
        return aside.submit(call).result()


async def _await(awaitable: Awaitable[T], call: object) -> T:
    _call.set(call)
    return await awaitable


async def _collect(messages: AsyncIterable[T]) -> list[T]:
    return [message async for message in messages]
