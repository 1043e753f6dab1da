"""`StandaloneDelivery`: carries the results of an operator to its publishers, without a chain."""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

from arroyo.errors import StageError
from arroyo.messages import Message, Start, Stop

from ._awaiter import Awaiter, FinishedCall
from ._lists import PUBLISHED_IN_A_LIST, find_call, find_list_method
from ._publisher import Publisher
from ._results import each_result, sort_results

T = TypeVar("T")


class StandaloneDelivery:
    """Wraps an operator's `process()`, and hands its results to publishers.

    The rules are those of a chain: nothing leaves before `process()` has returned, and nothing at
    all if it raises; a Start and a Stop go on exactly once; all async code runs on one event loop.
    Errors are raised by the call. Any thread may call; calls take turns.

    Parameters
    ----------
    operator
        The operator. Its own `process()` may call that of its base class: only the results of the
        outer call are delivered.
    publishers
        Read again for each message.
    """

    def __init__(self, operator: Any, publishers: Sequence[Publisher]) -> None:
        self._process: Callable[[Message], Any] = find_call(operator, "process")
        self._takes_lists = find_list_method(operator, "process") is not None
        self._publishers = publishers
        self._folds: bool = operator.folds
        self._awaiter = Awaiter()
        self._turn = threading.RLock()
        self._swap = threading.Lock()
        self._refuses = False
        """`process_batch()` is being called, whose results can only be returned."""
        self._held: list[Message] | None = None
        """Messages published during the present call of `process()`; None: there is no call."""
        weakref.finalize(operator, self._awaiter.close)

    def __call__(self, message: Message, token: Any = None) -> Any:
        """Process a message and deliver the results; `token` is for chains only.

        Returns
        -------
        Any
            The result of `process()`, a list in place of a generator. If it is async, the result
            can be awaited.
        """
        with self._turn:
            self._held = []
            self._refuses = self._takes_lists and not isinstance(message, Start | Stop)
            try:
                returned = self._process(message)
                is_async = isinstance(returned, Awaitable | AsyncIterable)
                if is_async:
                    returned = self._await(returned)
                self._refuses = False
                if isinstance(returned, Iterator):
                    returned = self._exhaust(returned)
                else:
                    for result in each_result(returned):
                        self._hold(result)
            finally:
                self._refuses = False
                results = self._let_go()
            events, control = sort_results(message, results, folds=self._folds)
            for result in events if control is None else (*events, control):
                self._deliver(result)
        return FinishedCall(returned) if is_async else returned

    def publish(self, message: Message) -> None:
        """Deliver a message; during a call of `process()`, when that has returned."""
        if self._refuses:
            raise StageError(PUBLISHED_IN_A_LIST)
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
            answer = find_call(publisher, "publish")(message)
            if isinstance(answer, Awaitable):
                self._awaiter.finish(answer)
