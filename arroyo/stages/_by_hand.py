"""`Delivery`: an operator with publishers of its own, put together by hand, without a chain."""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterator, Sequence
from typing import Any, Generic, TypeVar

from arroyo.messages import Message

from ._awaiting import Awaiter
from ._publisher import Publisher
from ._results import each_result, sort_results

T = TypeVar("T")


class Finished(Generic[T]):
    """What an async call came to, although it was not awaited; awaiting it does no harm."""

    def __init__(self, value: T) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, T]:
        return self._value
        yield  # makes this a generator, as `await` wants it


NOTHING: Finished[None] = Finished(None)


class Delivery:
    """Stands in front of an operator's `process()` and hands all that comes of it to publishers.

    The rules are those of a chain: nothing leaves before `process()` has returned, and nothing at
    all if it raises; a Start and a Stop go on exactly once; async code is awaited, all of it on
    one event loop. Errors come out of the call. Any thread may call, one at a time has its turn.

    Parameters
    ----------
    operator
        Whose results they are. Its own `process()` is called, which may call that of its base
        class: only what comes here is delivered.
    publishers
        Who gets them; looked at for each message.
    """

    def __init__(self, operator: Any, publishers: Sequence[Publisher]) -> None:
        self._process: Callable[[Message], Any] = operator.process
        self._publishers = publishers
        self._folds: bool = operator.folds
        self._awaiter = Awaiter()
        self._turn = threading.RLock()
        self._swap = threading.Lock()
        self._held: list[Message] | None = None
        """What was published while `process()` works; None: it does not."""
        weakref.finalize(operator, self._awaiter.close)

    def __call__(self, message: Message, token: Any = None) -> Any:
        """Process a message and deliver the results; `token` would identify it to a chain.

        Returns
        -------
        Any
            What `process()` returned, and a list instead of a generator. Where it is async,
            something that may be awaited for that.
        """
        with self._turn:
            self._held = []
            try:
                returned = self._process(message)
                is_async = isinstance(returned, Awaitable | AsyncIterable)
                if is_async:
                    returned = self._await(returned)
                if isinstance(returned, Iterator):
                    returned = self._exhaust(returned)
                else:
                    for result in each_result(returned):
                        self._hold(result)
            finally:
                results = self._let_go()
            events, control = sort_results(message, results, folds=self._folds)
            for result in events if control is None else (*events, control):
                self._deliver(result)
        return Finished(returned) if is_async else returned

    def publish(self, message: Message) -> None:
        """Deliver a message, when `process()` has returned if that works on one now."""
        if self._hold(message):
            return
        with self._turn:
            self._deliver(message)

    def _await(self, returned: Any) -> Any:
        if isinstance(returned, AsyncIterable):
            return self._awaiter.collect(returned)
        return self._awaiter.finish(returned)

    def _exhaust(self, several: Iterator[Any]) -> list[Message]:
        results = []
        for result in each_result(several):
            self._hold(result)
            results.append(result)
        return results

    def _hold(self, message: Message) -> bool:
        with self._swap:
            if self._held is None:
                return False
            self._held.append(message)
            return True

    def _let_go(self) -> list[Message]:
        with self._swap:
            held, self._held = self._held, None
        return held or []

    def _deliver(self, message: Message) -> None:
        for publisher in tuple(self._publishers):
            answer = publisher.publish(message)
            if isinstance(answer, Awaitable):
                self._awaiter.finish(answer)
