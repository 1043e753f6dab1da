"""What the methods of users' classes are called with, and whether they can be. PURE."""

from __future__ import annotations

import inspect
from typing import Any

_GIVEN = {
    **{"process": "message", "publish": "message"},
    **{"process_batch": "messages", "publish_batch": "messages"},
    **{"acknowledge": "token", "acknowledge_batch": "tokens"},
    **{"poll": "timeout_s", "parse": "frames"},
}
"""The one argument of each method that has one; all others are called without."""
_WORDS = {
    "message": "one message",
    "messages": "one list of messages",
    "token": "one token",
    "tokens": "one list of tokens",
    "timeout_s": "a time in s",
    "frames": "a list of frames",
}


def explain_signature(stage: object, method: str) -> str | None:
    """Return why a method of a class or object can't be called with what it is given.

    None: it can, or nobody knows, as of some callables that are written in C.
    """
    found = getattr(stage, method, None)
    if not callable(found) or (signature := _read_signature(stage, method, found)) is None:
        return None
    given = _GIVEN.get(method)
    try:
        signature.bind(*([] if given is None else [None]))
    except TypeError as error:
        what = "without arguments" if given is None else f"with {_WORDS[given]}"
        parameters = "self" if given is None else f"self, {given}"
        return (
            f"{method}{signature.replace(return_annotation=signature.empty)} is called {what}: "
            f"{error}; write def {method}({parameters})"
        )
    return None


def _read_signature(stage: object, method: str, found: Any) -> inspect.Signature | None:
    """Return the signature of a method as it is called on an object, also for that of a class.

    That of a decorated method is its wrapper's, since that is what is called.
    """
    try:
        signature = inspect.signature(found, follow_wrapped=False)
    except (TypeError, ValueError):
        return None
    if not inspect.isclass(stage):
        return signature
    static = inspect.getattr_static(stage, method, None)
    if isinstance(static, staticmethod | classmethod):
        return signature
    if not inspect.isfunction(static):
        return None  # what such an attribute of a class gets on an object is its own affair
    parameters = list(signature.parameters.values())
    takes_self = parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    return signature.replace(parameters=parameters[1:] if takes_self else parameters)
