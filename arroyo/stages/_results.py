"""The rules for results of `process()`, in a chain and without one. PURE."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

from arroyo.errors import StageError
from arroyo.messages import Message, Start, Stop

# Made once: making a union takes as long as everything else here.
_CONTROLS = (Start, Stop)
_NO_RESULTS = (str, bytes, dict)


def each_result(returned: Any, method: str = "process") -> Iterable[Message]:
    """Return the messages in a result of `process()`, which was awaited if need be.

    It may be one, several, or None. A generator makes its messages as they are asked for.
    `method`: or in one of the results of that method.

    Raises
    ------
    StageError
        It is something else, or contains something else.
    """
    if isinstance(returned, Message):
        return (returned,)
    if returned is None:
        return ()
    if isinstance(returned, Iterable) and not isinstance(returned, _NO_RESULTS):
        return (_require_message(each, method) for each in returned)
    return (_require_message(returned, method),)


def sort_results(
    message: Message, results: Sequence[Message], *, folds: bool = False, method: str = "process"
) -> tuple[Sequence[Message], Message | None]:
    """Return the events among the results, and the Start or Stop that goes on, if `message` is one.

    A Start or Stop goes on exactly once, whatever the results are. For a Stop a fold may return
    events as well.

    Raises
    ------
    StageError
        The results contain something else.
    """
    name = type(message).__name__
    if not isinstance(message, _CONTROLS):
        for result in results:
            if isinstance(result, _CONTROLS):
                raise StageError(
                    f"{method}() got {name} and returned {type(result).__name__}; only a listener "
                    "opens and closes runs; return an Event or None"
                )
        return results, None
    chosen: Message = message
    events = []
    for result in results:
        if type(result) is type(message):
            chosen = result
        elif folds and isinstance(message, Stop) and not isinstance(result, Start):
            events.append(result)
        else:
            raise StageError(
                f"process() got {name} and returned {type(result).__name__}; return {name}, "
                "another one in its place, or None"
            )
    return events, chosen


def _require_message(result: Any, method: str) -> Message:
    if isinstance(result, Message):
        return result
    raise StageError(
        f"{method}() returned {type(result).__name__} {reprlib.repr(result)}, "
        "expected a message, several, or None"
    )
