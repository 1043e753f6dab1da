"""What the methods of users' classes are called with, and whether they can be. PURE."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MethodType

_GIVEN = {
    **{"process": "message", "publish": "message"},
    **{"process_batch": "messages", "publish_batch": "messages"},
    **{"acknowledge": "token", "acknowledge_batch": "tokens"},
    **{"poll": "timeout_s", "parse": "frames", "set_parameters": "parameters"},
}
"""The one argument of each method that has one; all others are called without."""
_WORDS = {
    "message": "one message",
    "messages": "one list of messages",
    "token": "one token",
    "tokens": "one list of tokens",
    "timeout_s": "a time in s",
    "frames": "a list of frames",
    "parameters": "one dict of parameters",
}


def explain_signature(stage: object, method: str) -> str | None:
    """Return why a method of a class or object can't be called with what it is given.

    None: it can, or nobody knows, as of some callables that are written in C.
    """
    if (function := _find_function(stage, method)) is None:
        return None
    code, takes_self = function
    try:
        # That of a decorated method is its wrapper's, since that is what is called.
        signature = inspect.signature(code, follow_wrapped=False)
    except (TypeError, ValueError):
        return None
    given = _GIVEN.get(method)
    definition = f"write def {method}({'self' if given is None else f'self, {given}'})"
    own = [None] if takes_self else []
    try:
        signature.bind_partial(*own)
    except TypeError:
        return f"{method}() takes no self; {definition}"
    try:
        signature.bind(*own, *([] if given is None else [None]))
    except TypeError as error:
        what = "without arguments" if given is None else f"with {_WORDS[given]}"
        parameters = list(signature.parameters.values())
        if takes_self and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            del parameters[0]
        shown = signature.replace(parameters=parameters, return_annotation=signature.empty)
        return f"{method}{shown} is called {what}: {error}; {definition}"
    return None


def _find_function(stage: object, method: str) -> tuple[Callable[..., object], bool] | None:
    """Return what is called for a method, and whether it gets the object or class before all else.

    None: there is no such method, or what a class's attribute gets on an object is its own affair.
    """
    found = getattr(stage, method, None)
    if not callable(found):
        return None
    if isinstance(found, MethodType):
        return found.__func__, True
    if not inspect.isclass(stage):
        return found, False
    static = inspect.getattr_static(stage, method, None)
    if isinstance(static, staticmethod) or inspect.isfunction(static):
        return found, not isinstance(static, staticmethod)
    return None
