"""What a call of `process()` may give out, in a chain and by hand. PURE."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

from arroyo.errors import StageError
from arroyo.messages import Message, Start, Stop

# Made once: to make a union takes as long as all else that is done here for a result.
_CONTROLS = (Start, Stop)
_NO_RESULTS = (str, bytes, dict)


def each_result(returned: Any) -> Iterable[Message]:
    """Return the messages in what `process()` has returned, when it is awaited.

    It may be one, several, or None. Those of a generator are made as they are asked for.

    Raises
    ------
    StageError
        It is something else, or holds it.
    """
    if isinstance(returned, Message):
        return (returned,)
    if returned is None:
        return ()
    if isinstance(returned, Iterable) and not isinstance(returned, _NO_RESULTS):
        return map(_require_message, returned)
    return (_require_message(returned),)


def sort_results(
    message: Message, results: Sequence[Message], *, folds: bool = False
) -> tuple[Sequence[Message], Message | None]:
    """Return the events among the results, and the Start or Stop that goes on, if `message` is one.

    A Start or Stop goes on exactly once, whatever was given out; a fold may give out events at a
    Stop as well.

    Raises
    ------
    StageError
        Something else came of it.
    """
    name = type(message).__name__
    if not isinstance(message, _CONTROLS):
        for result in results:
            if isinstance(result, _CONTROLS):
                raise StageError(
                    f"process() got {name} and returned {type(result).__name__}; only a listener "
                    "begins and ends runs"
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
                f"process() got {name} and returned {type(result).__name__}; nothing but {name} "
                "can take its place"
            )
    return events, chosen


def _require_message(result: Any) -> Message:
    if isinstance(result, Message):
        return result
    raise StageError(
        f"process() returned {type(result).__name__} {reprlib.repr(result)}, "
        "expected a message, several, or None"
    )
