"""Type errors of msgspec in words: what was found, what was expected. PURE."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
_EXPECTED = re.compile(r"Expected `(.+?)`(?: (.+?))?(?:, got `.+?`)?(?: - at `\$(.*?)`)?$")


def explain_mismatch(error: msgspec.ValidationError, value: Any, kind: Any, place: str) -> str:
    """Return why `value` at `place` can't be a `kind`; `error` is from `msgspec.convert`."""
    if choices := [repr(choice) for choice in _choices(kind)]:
        if any(isinstance(part, type(msgspec.Struct)) for part in get_args(kind)):
            choices.append("a table")
        return f"{place}: found {value!r}, expected {_one_of(choices)}"
    match = _EXPECTED.match(str(error))
    if not match:
        return f"{place}: found {value!r}; {error}"
    expected = " or ".join(
        _WORDS.get(name, name) for name in match[1].split(" | ") if name != "null"
    )
    if match[2]:
        expected += f" {match[2]}"
    return _at(place, value, match[3] or "", expected)


def _at(place: str, value: Any, inner: str, expected: str) -> str:
    if index := re.fullmatch(r"\[(\d+)\]", inner):
        return f"{place}{inner}: found {value[int(index[1])]!r}, expected {expected}"
    each = " for each" if inner == "[...]" else f" at {inner.strip('.')}" if inner else ""
    return f"{place}: found {value!r}, expected {expected}{each}"


def _one_of(choices: list[str]) -> str:
    if len(choices) <= 2:
        return " or ".join(choices)
    return f"one of {', '.join(choices)}"


def _choices(kind: Any) -> Iterator[Any]:
    """Yield the values of a Literal, also within a union with None."""
    for part in (kind, *get_args(kind)):
        if get_origin(part) is Literal:
            yield from get_args(part)
