"""Methods of stages beside `process()`: which kinds they may be of, and calls to them.

`open()`, `close()`, `flush()`, `start()`, `publish()` and `set_parameters()` may be async, and are
awaited. A method with ``yield`` runs not one line when it is called, a listener's `stop()`,
`acknowledge()` and `set_parameters()` come from another thread than the event loop's, and
`begin_flush()` is there to wait for nothing: that is refused as a mistake of the class, by
`arroyo check` and before the stage starts, or at the first call where only the result shows it. So
is a method that can't be called with what it is given, such as a `process()` without a message.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from arroyo.config.graph import Role
from arroyo.config.parameters import say
from arroyo.errors import ArroyoError, StageError, UnavailableError, may_pass
from arroyo.stages import (
    Awaiter,
    IteratingListener,
    PollingListener,
    explain_signature,
    find_list_method,
)

from .error_policy import UnusableMethodError, in_words

_log = logging.getLogger(__name__)

_AWAITED: dict[Role, tuple[str, ...]] = {
    "listener": ("open", "start", "close"),
    "operator": ("open", "close", "set_parameters"),
    "publisher": ("open", "publish", "flush", "close", "set_parameters"),
}
_PLAIN: dict[Role, tuple[str, ...]] = {
    "listener": ("stop", "acknowledge", "acknowledge_batch", "poll", "set_parameters"),
    "operator": ("held",),
    "publisher": ("begin_flush",),
}
_CALLED: dict[Role, tuple[str, ...]] = {
    "listener": ("open", "start", "stop", "acknowledge", "acknowledge_batch", "close"),
    "operator": ("open", "process", "process_batch", "close"),
    "publisher": ("open", "publish", "publish_batch", "flush", "begin_flush", "close"),
}
"""Methods that are called where they are there, whatever else a class is for."""
_TAKES_LISTS: dict[Role, tuple[str, str] | None] = {
    "listener": None,
    "operator": ("process", "; return a list with one result for each message"),
    "publisher": ("publish", ""),
}


class MethodRaisedError(StageError):
    """A method beside `process()` and `publish()` raised what is none of Arroyo's errors."""


class MethodAwayError(MethodRaisedError, UnavailableError):
    """A method raised because something outside can't be reached just now."""


class StageMethods:
    """Calls methods of a stage's object, all async ones of it on one event loop."""

    def __init__(self, made: object) -> None:
        self.made = made
        self.awaiter = Awaiter()

    @contextlib.contextmanager
    def opened(self, parameters: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Call `open()`, and behind the block `close()`, however the block ends.

        Its error is what has happened: one that `close()` raises after it is only logged.
        """
        self.open(parameters)
        try:
            yield
        except BaseException:
            try:
                self.close()
            except ArroyoError as error:
                _log.warning("%s", error, exc_info=error)
            raise
        self.close()

    def open(self, parameters: Mapping[str, Any] | None = None) -> None:
        """Set the first parameters and call `open()`.

        Where that fails nothing will call `close()`, so the event loop ends here.
        """
        with contextlib.ExitStack() as failing:
            failing.callback(self.awaiter.close)
            if parameters:
                self.set_parameters(parameters)
            self.call("open")
            failing.pop_all()

    def close(self) -> None:
        """Call `close()`, and end the event loop, however that goes."""
        try:
            self.call("close")
        finally:
            self.awaiter.close()

    def set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Give parameters to the object, between two messages or before its `open()`.

        They are its attributes; an object that has `set_parameters()` gets all of them there.

        MethodRaisedError: it refuses them, and what it had before stays.
        """
        made = self.made
        if (method := getattr(made, "set_parameters", None)) is not None:
            self.call_part(lambda: method(dict(parameters)), "set_parameters")
            return
        before = {name: getattr(made, name) for name in parameters if hasattr(made, name)}
        for name, value in parameters.items():
            try:
                setattr(made, name, value)
            except Exception as error:  # a property is users' code, and may raise anything
                for done, former in before.items():
                    with contextlib.suppress(Exception):
                        setattr(made, done, former)
                raise MethodRaisedError(
                    f"{type(made).__name__}.{name} = {say(value)} raised {in_words(error)}"
                ) from error

    def call(self, method: str) -> Any:
        """Call a method that a class which only looks like a stage may lack, and finish it.

        MethodRaisedError: it raised; the text says what, and the cause is that.
        """
        found = getattr(self.made, method, None)
        return None if found is None else self.call_part(found, method)

    def call_part(self, code: Callable[[], Any], method: str) -> Any:
        """Call a method, or what it has returned to be called later; raises as `call`."""
        try:
            return self.finish(code(), method)
        except ArroyoError:
            raise
        except Exception as error:  # users' code may raise anything
            kind = MethodAwayError if may_pass(error) else MethodRaisedError
            name = type(self.made).__name__
            raise kind(f"{name}.{method}() raised {in_words(error)}") from error

    def finish(self, returned: Any, method: str) -> Any:
        """Return what a method has returned, awaited where that is needed.

        UnusableMethodError: it returned a generator, of which nothing has run.
        """
        if inspect.isawaitable(returned):
            return self.awaiter.finish(returned)
        if inspect.isgenerator(returned) or inspect.isasyncgen(returned):
            name = type(self.made).__qualname__
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
    if (takes_list := _TAKES_LISTS[role]) is not None:
        method, instead = takes_list
        if (found := find_list_method(stage, method)) is not None:
            yield from _find_wrong_list_method(found, f"{method}_batch", instead)
    yield from filter(None, (explain_signature(stage, each) for each in _called(stage, role)))


def _called(stage: object, role: Role) -> Iterator[str]:
    yield from _CALLED[role]
    kind = stage if inspect.isclass(stage) else type(stage)
    if role == "listener" and issubclass(kind, PollingListener):
        yield "poll"
    if role == "listener" and issubclass(kind, IteratingListener):
        yield "messages"
    if role == "operator" and getattr(stage, "folds", False):
        yield "held"


def _find_wrong_list_method(found: object, name: str, instead: str) -> Iterator[str]:
    if not callable(found):
        yield f"{name} is {found!r:.60}, expected a method; it is called with lists of messages"
    elif inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        yield f"{name}() contains yield{instead or _NOTHING_RUNS}"


_NOTHING_RUNS = (
    ", so that nothing of it runs when it is called; leave yield out (only process() may yield)"
)
