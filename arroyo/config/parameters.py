"""Parameters of stages: which values they may have, and what people type for them. PURE."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from .suggestions import did_you_mean

DEPTH_MAX = 16
_LEAST, _MOST = -(2**63), 2**63 - 1


def parameter_problems(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with ``parameters`` of a chain file, each beginning with its place."""
    for name, value in parameters.items():
        place = f"parameters.{name}"
        if not name.isidentifier() or name.startswith("_"):
            yield f"{place}: found {name!r}, expected a name that an attribute of a class may have"
        yield from _unfit(value, place)


def change_problems(declared: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield why parameters can't be set to what is wanted.

    `declared`: the values in the chain file, which say what kinds of values are meant.
    """
    for name, value in wanted.items():
        if name not in declared:
            yield f"there is no parameter {name!r}{did_you_mean(name, declared)}"
        elif unfit := list(_unfit(value, name)):
            yield from unfit
        elif (kind := _kind(declared[name])) != _kind(value):
            hint = f"; write it as '{name}=\"{say(value)}\"'" if kind == "text" else ""
            yield f"{name}: found {say(value)}, expected {kind}, as in the chain file{hint}"


def parse_assignment(text: str) -> tuple[str, Any]:
    """Return name and value of ``name=value``; what is no value of TOML is text.

    ValueError: it has another form.
    """
    name, sign, typed = text.partition("=")
    if not name or not sign:
        raise ValueError(f"found {text!r}, expected name=value")
    return name, parse_value(typed)


def parse_value(typed: str) -> Any:
    """Return a value of TOML; what is none is text."""
    try:
        found = tomllib.loads(f"value = {typed}")
    except (ValueError, RecursionError):  # Python reads no number of more than 4300 digits
        return typed
    return found["value"] if len(found) == 1 else typed


def say(value: Any) -> str:
    """Return a value as people write it."""
    return json.dumps(value, ensure_ascii=False, default=str)


def say_all(values: Mapping[str, Any]) -> str:
    """Return several parameters as people write them."""
    return ", ".join(f"{name} = {say(value)}" for name, value in values.items())


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a table"


def _unfit(value: Any, place: str, depth: int = 0) -> Iterator[str]:
    """Yield each place at which a value is none that JSON has as well."""
    match value:
        case dict() | list() if depth == DEPTH_MAX:
            yield f"{place}: found more than {DEPTH_MAX} lists or tables within each other"
        case dict():
            for key, inner in value.items():
                yield from _unfit(inner, f"{place}.{key}", depth + 1)
        case list():
            for index, inner in enumerate(value):
                yield from _unfit(inner, f"{place}[{index}]", depth + 1)
        case float() if not math.isfinite(value):
            yield f"{place}: found {value}, expected a finite number"
        case int() if not _LEAST <= value <= _MOST:
            yield f"{place}: found {value}, expected a number of 64 bits at most"
        case str() | int() | float():
            pass
        case _:
            yield f"{place}: found the date or time {value}; write it as text"
