"""A stage's options against the signature of what they are for.

A parameter's annotation is what its option is converted to, by msgspec's strict rules: a list
becomes a tuple, text a Path, a table a dataclass. Where msgspec does not know the type, or there
is none, the value goes as TOML has it.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from arroyo.config.graph import Stage
from arroyo.config.reading.mismatch import explain_mismatch
from arroyo.config.reading.variables import VariableText, as_plain, is_unresolved
from arroyo.config.suggestions import did_you_mean

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def bind_options(factory: Callable[..., Any], stage: Stage) -> tuple[dict[str, Any], list[str]]:
    """Convert a stage's options to what `factory` takes.

    Returns
    -------
    options
        The keyword arguments.
    problems
        One sentence for each option that is unknown, missing, or of the wrong type.
    """
    place = f"stages.{stage.name}.options"
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some classes written in C have none: they say themselves what is wrong
        return as_plain(stage.options), []
    # What a listener hands its messages to is given by the framework.
    given = {"operator"} if stage.role == "listener" else set()
    parameters = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in _NAMED and name not in given
    }
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    problems = [
        f"{place}.{name}: {_name(factory)} has no such option{did_you_mean(name, parameters)}"
        for name in stage.options
        if name not in parameters and (not takes_any or name in given)
    ]
    problems += [
        f"{place}: {name} is missing; {_name(factory)}({', '.join(parameters)}) needs it"
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in stage.options
    ]
    hints = _hints(factory)
    options = {}
    for name, value in stage.options.items():
        if is_unresolved(value):
            continue  # its mistake is told
        try:
            options[name] = _convert(value, hints.get(name, Any))
        except msgspec.ValidationError as error:
            problems.append(explain_mismatch(error, value, hints[name], f"{place}.{name}"))
    return options, problems


def place_in_options(problem: str, stage: Stage) -> str:
    """Return the place of a problem: the option that it names first, if it names one."""
    found = {key: re.search(rf"\b{re.escape(key)}\b", problem) for key in stage.options}
    named = [(match.start(), key) for key, match in found.items() if match]
    option = f".{min(named)[1]}" if named else ""
    return f"stages.{stage.name}.options{option}"


def _convert(value: Any, hint: Any) -> Any:
    strict = not isinstance(value, VariableText)
    value = as_plain(value)
    try:
        return msgspec.convert(value, hint, strict=strict, dec_hook=_convert_path)
    except msgspec.ValidationError:
        raise
    except (TypeError, _ForeignTypeError):  # the class must know itself
        return value


class _ForeignTypeError(Exception):
    """A type of an option is none that msgspec knows, nor `Path`."""


def _convert_path(kind: type, value: Any) -> Any:
    if kind is not Path:
        raise _ForeignTypeError
    if not isinstance(value, str):
        raise ValueError("Expected `str`")
    return Path(value)


def _hints(factory: Callable[..., Any]) -> Mapping[str, Any]:
    function = factory.__init__ if inspect.isclass(factory) else factory
    try:
        return typing.get_type_hints(function)
    except (NameError, AttributeError, TypeError):
        return {}  # annotations that only a type checker can read say nothing here


def _name(factory: Callable[..., Any]) -> str:
    return getattr(factory, "__name__", repr(factory))
