"""Makes the tables of `schema` from parsed TOML, and finds every mistake, not just the first. PURE.

A table with mistakes is made of its correct keys, so that the rules of `wiring` can find further
mistakes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec

from arroyo.config.quantities import parse_duration, parse_size
from arroyo.config.schema import (
    ZERO_IS_NO_LIMIT,
    ChainFile,
    ChainTable,
    Duration,
    InputTable,
    OnEventTable,
    ReadyTable,
    Size,
    StageTable,
    SupervisorTable,
)
from arroyo.config.suggestions import did_you_mean

from .mismatch import explain_mismatch
from .variables import VariableText, as_plain, is_unresolved

Table = TypeVar("Table", bound=msgspec.Struct)

# Each call of msgspec's own function evaluates the annotations again.
_fields = functools.cache(msgspec.structs.fields)

_TABLES: dict[Any, tuple[type[msgspec.Struct], dict[str, Any]]] = {
    list[str] | OnEventTable | None: (OnEventTable, {"command": ["unknown"]}),
    Literal["notify"] | ReadyTable | None: (ReadyTable, {}),
}
"""Keys, by their type, whose value may be a table, and what that is taken to have."""


class Tables(msgspec.Struct, frozen=True):
    """Tables of a chain file, as far as they could be read."""

    chain: ChainTable
    stages: dict[str, StageTable]
    supervisor: SupervisorTable
    damaged: frozenset[str]
    """Stages with mistakes; a key that they lack may be one of these."""


def read_tables(document: dict[str, Any], problems: list[str]) -> Tables:
    """Read a whole chain file; mistakes are added to `problems`, with their places."""
    for key in _unknown_keys(document, ChainFile):
        problems.append(f"{key}: there is no such table{did_you_mean(key, _names(ChainFile))}")
    chain = _read_section(document, "chain", ChainTable, problems, name="")
    supervisor = _read_section(document, "supervisor", SupervisorTable, problems)
    stages: dict[str, StageTable] = {}
    damaged = set()
    found = document.get("stages", {})
    if not isinstance(found, dict) or not found:
        problems.append("stages: there are no stages; each is a table [stages.NAME]")
        found = {}
    for name, table in found.items():
        known = len(problems)
        stages[name] = _read_table(table, StageTable, f"stages.{name}", problems)
        if len(problems) > known or is_unresolved(table):
            damaged.add(name)
    return Tables(chain, stages, supervisor, frozenset(damaged))


def _read_section(
    document: dict[str, Any], key: str, kind: type[Table], problems: list[str], **missing: Any
) -> Table:
    return _read_table(document.get(key, {}), kind, key, problems, **missing)


def _read_table(
    table: Any, kind: type[Table], place: str, problems: list[str], **missing: Any
) -> Table:
    """Make a table of type `kind`; `missing` has values for required keys that are missing."""
    if not isinstance(table, dict):
        problems.append(f"{place}: found {table!r}, expected a table")
        table = {}
    for key in _unknown_keys(table, kind):
        problems.append(f"{place}.{key}: there is no such key{did_you_mean(key, _names(kind))}")
    values = dict(missing)
    for field in _fields(kind):
        inner = f"{place}.{field.name}"
        if field.name not in table:
            if field.required:
                problems.append(f"{inner}: this key is missing, and has no default")
            continue
        found = table[field.name]
        if is_unresolved(found) and not isinstance(found, dict):
            continue  # its mistake is told
        value = _read_value(found, field.type, inner, problems)
        if value is not None:  # TOML has no null, so None means a mistake
            values[field.name] = value
    return kind(**values)


def _read_value(value: Any, kind: Any, place: str, problems: list[str]) -> Any:
    """Return `value` as a `kind`, in s or bytes where it has a unit; None on a mistake."""
    bare, or_zero = _without_annotation(kind)
    try:
        if bare == list[str | InputTable]:
            return list(_read_inputs(msgspec.convert(value, list[Any]), place, problems))
        if bare in _TABLES and isinstance(value, dict):
            table, missing = _TABLES[bare]
            return _read_table(value, table, place, problems, **missing)
        converted = msgspec.convert(value, kind, strict=not isinstance(value, VariableText))
        if bare == Duration:
            return parse_duration(converted, or_zero=or_zero)
        if bare in (Size, Size | None):
            return parse_size(converted)
    except msgspec.ValidationError as error:
        problems.append(explain_mismatch(error, value, bare, place))
    except ValueError as error:
        problems.append(f"{place}: {error}")
    else:
        # Only the class that takes the options knows their types.
        return converted if bare == dict[str, Any] else as_plain(converted)
    return None


def _without_annotation(kind: Any) -> tuple[Any, bool]:
    """Return the type that a description annotates, and whether 0 means that there is no limit."""
    if get_origin(kind) is not Annotated:
        return kind, False
    bare, *metas = get_args(kind)
    return bare, any(meta.extra == ZERO_IS_NO_LIMIT for meta in metas)


def _read_inputs(inputs: list[Any], place: str, problems: list[str]) -> Iterator[str | InputTable]:
    for index, found in enumerate(inputs):
        inner = f"{place}[{index}]"
        if isinstance(found, str):
            yield str(found)
        elif isinstance(found, dict):
            yield _read_table(found, InputTable, inner, problems, stage="")
        else:
            problems.append(f"{inner}: found {found!r}, expected the name of a stage or a table")
            yield InputTable(stage="")  # so that the others keep their index


def _names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return kind.__struct_fields__


def _unknown_keys(table: dict[str, Any], kind: type[msgspec.Struct]) -> list[str]:
    return [key for key in table if key not in kind.__struct_fields__]
