"""The rules for `process_batch()` and `publish_batch()`: methods that take lists of messages. PURE.

A stage that has one of these is called with lists of Events of one run, in their order; a Start or
Stop goes to `process()` or `publish()`, where it has that. A single message is a list of one.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from arroyo.errors import StageError
from arroyo.messages import Message, Start, Stop

PUBLISHED_IN_A_LIST = (
    "publish() within process_batch(), which has many messages in hand: nobody can tell of which "
    "one this is a result; return it"
)

_CONTROLS = (Start, Stop)


def find_list_method(stage: object, method: str) -> Callable[[list[Message]], Any] | None:
    """Return a stage's method that takes lists in place of `method`; None: it has none."""
    found: Callable[[list[Message]], Any] | None = getattr(stage, f"{method}_batch", None)
    return found


def require_results(returned: Any, count: int) -> Sequence[Any]:
    """Return what `process_batch()` gave out for a list of `count` messages, one by one.

    Raises
    ------
    StageError
        It is no list, or not as long as the list that it got.
    """
    if not isinstance(returned, Sequence) or isinstance(returned, str | bytes):
        found = "None" if returned is None else f"an object of type {type(returned).__name__}"
    elif len(returned) != count:
        found = "1 result" if len(returned) == 1 else f"{len(returned)} results"
    else:
        return returned
    got = "1 message" if count == 1 else f"{count} messages"
    raise StageError(
        f"process_batch() got {got} and returned {found}; return a list with one result for each "
        "message, in their order: a message, a list of messages, or None"
    )


def call_single(takes_list: Callable[[list[Message]], Any], method: str) -> Callable[..., Any]:
    """Return a function that calls a method which takes lists with a single message.

    It returns the result for that; where the method is async, something that can be awaited.
    """
    if method == "publish":
        return lambda message: takes_list([message])

    def process(message: Message) -> Any:
        returned = takes_list([message])
        if inspect.isawaitable(returned):
            return _await_single(returned)
        return require_results(returned, 1)[0]

    return process


async def _await_single(returned: Awaitable[Any]) -> Any:
    return require_results(await returned, 1)[0]


def find_call(stage: object, method: str) -> Callable[..., Any]:
    """Return what to call with any single message, where there is no chain that makes lists."""
    takes_list = find_list_method(stage, method)
    if takes_list is None:
        plain: Callable[..., Any] = getattr(stage, method)
        return plain
    single, hear = call_single(takes_list, method), getattr(stage, method, lambda _: None)

    def call(message: Message) -> Any:
        return (hear if isinstance(message, _CONTROLS) else single)(message)

    return call
