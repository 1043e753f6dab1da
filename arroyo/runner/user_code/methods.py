"""Methods of stages beside `process()`: which kinds they may be of, and calls to them.

`open()`, `close()`, `flush()`, `start()` and `publish()` may be async, and are awaited. A method
with ``yield`` runs not one line when it is called, and `stop()` and `acknowledge()` come from
another thread than the event loop's: that is refused as a mistake of the class, by `arroyo check`
and before the stage starts, or at the first call where only the result shows it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from arroyo.config.graph import Role
from arroyo.errors import ArroyoError, StageError, UnavailableError, may_pass
from arroyo.stages import Awaiter

from .trials import UnusableMethodError, in_words

_AWAITED: dict[Role, tuple[str, ...]] = {
    "listener": ("open", "start", "close"),
    "operator": ("open", "close"),
    "publisher": ("open", "publish", "flush", "close"),
}
_PLAIN: dict[Role, tuple[str, ...]] = {
    "listener": ("stop", "acknowledge", "acknowledge_batch", "poll"),
    "operator": ("held",),
    "publisher": (),
}


class MethodRaisedError(StageError):
    """A method beside `process()` and `publish()` raised what is none of Arroyo's errors."""


class MethodAwayError(MethodRaisedError, UnavailableError):
    """The same, for something outside that can't be reached just now."""


def call_if_there(stage: object, method: str, awaiter: Awaiter) -> None:
    """Call a method that a class which only looks like a stage may lack, and finish it.

    Raises
    ------
    MethodRaisedError
        It raised; the text says what, and the cause is that.
    """
    found = getattr(stage, method, None)
    if found is None:
        return
    try:
        settle(found(), stage, method, awaiter)
    except ArroyoError:
        raise
    except Exception as error:  # users' code may raise anything
        kind = MethodAwayError if may_pass(error) else MethodRaisedError
        raise kind(f"{type(stage).__name__}.{method}() raised {in_words(error)}") from error


def settle(returned: Any, stage: object, method: str, awaiter: Awaiter) -> Any:
    """Return what a method's call comes to.

    Raises
    ------
    UnusableMethodError
        It returned a generator, of which nothing has run.
    """
    if returned is None:
        return None
    if inspect.isawaitable(returned):
        return awaiter.finish(returned)
    if inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        name = type(stage).__qualname__
        raise UnusableMethodError(f"{name}.{method}() returned a generator{_NOTHING_RUNS}")
    return returned


def find_unusable(stage: object, role: Role) -> Iterator[str]:
    """Yield what is wrong with each method of a class or object that can't be called as it is."""
    for method in (*_AWAITED[role], *_PLAIN[role]):
        found = getattr(stage, method, None)
        if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
            yield f"{method}() contains yield{_NOTHING_RUNS}"
        elif method in _PLAIN[role] and inspect.iscoroutinefunction(found):
            yield f"{method}() is async, and nothing awaits it; make it a plain def"


_NOTHING_RUNS = (
    ", so that nothing of it runs when it is called; leave yield out (only process() may yield)"
)
