"""`Awaiter`: runs the coroutines of async stages.

No other file of this package uses an event loop. It is here because an operator without a chain has
nothing else to run its coroutines.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_call: ContextVar[object] = ContextVar("arroyo_call", default=None)
"""The call that a coroutine belongs to; inherited by tasks and threads that asyncio starts."""


class Awaiter:
    """Runs coroutines to their end, one at a time, all on one event loop.

    So connections that `open()` makes work in `process()` and `close()`. Any thread may call it,
    one at a time. If the calling thread already has a running event loop (a notebook, an async
    `start()`), another thread runs the coroutine, and the caller waits.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._running: object = None

    def finish(self, awaitable: Awaitable[T]) -> T:
        """Return the result of `awaitable`."""
        import asyncio  # here, since loading it takes half as long as a stage's start

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
    if not _loop_runs():
        return call()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "arroyo-await") as aside:
        return aside.submit(call).result()


def _loop_runs() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _await(awaitable: Awaitable[T], call: object) -> T:
    _call.set(call)
    return await awaitable


async def _collect(messages: AsyncIterable[T]) -> list[T]:
    return [message async for message in messages]


class FinishedCall(Generic[T]):
    """Result of an async call that has run already; awaiting it returns the result."""

    def __init__(self, value: T) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, T]:
        return self._value
        yield  # makes this a generator, as `await` wants it


NOTHING: FinishedCall[None] = FinishedCall(None)
