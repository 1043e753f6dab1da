"""``${VAR}`` and ``${VAR:-default}`` in the strings of a chain file. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\$\{)",
    re.ASCII,
)


class VariableText(str):
    """Text from the environment, where a number can only be written as text.

    Code that knows the wanted type converts it; all other code gets plain text (see `as_plain`).
    """

    __slots__ = ()


class UnresolvedText(VariableText):
    """Text with a reference that could not be replaced: its mistake is told, and no other is."""

    __slots__ = ()


def is_unresolved(value: Any) -> bool:
    """Return True if a value is, or holds, text whose mistake is told already."""
    if isinstance(value, dict):
        return any(map(is_unresolved, value.values()))
    if isinstance(value, list):
        return any(map(is_unresolved, value))
    return isinstance(value, UnresolvedText)


def as_plain(value: Any) -> Any:
    """Return `value` with each `VariableText` in it as plain text."""
    if isinstance(value, VariableText):
        return str(value)
    if isinstance(value, dict):
        return {key: as_plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_plain(inner) for inner in value]
    return value


def substitute(value: Any, environ: Mapping[str, str], place: str, problems: list[str]) -> Any:
    """Return `value` with the references in all its strings replaced, however deep they are.

    A variable that is unset or empty is replaced by its default, as in a shell; ``$${`` stands
    for ``${``. Strings with a reference become `VariableText`. Mistakes are added to `problems`,
    with their places, and their strings become `UnresolvedText`.
    """
    if isinstance(value, dict):
        return {
            key: substitute(inner, environ, f"{place}.{key}" if place else key, problems)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [
            substitute(inner, environ, f"{place}[{index}]", problems)
            for index, inner in enumerate(value)
        ]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        if match["broken"]:
            problems.append(
                f"{place}: found '${{' without a name and '}}', expected ${{NAME}} or "
                "${NAME:-default}; write $${ for the characters themselves"
            )
            return ""
        if not match["name"]:
            return "${"
        found = environ.get(match["name"], "")
        if not found and match["default"] is not None:
            return match["default"]
        if match["name"] not in environ:
            problems.append(
                f"{place}: the environment has no variable {match['name']}; set it, or give "
                f"a default as in ${{{match['name']}:-default}}"
            )
        return found

    known = len(problems)
    replaced = _REFERENCE.sub(replace, value)
    return (VariableText if len(problems) == known else UnresolvedText)(replaced)
