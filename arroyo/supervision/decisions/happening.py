"""What events and actions have in common: one line for the machine's history. PURE."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from arroyo.identifiers import ReplicaName

_ELSEWHERE = frozenset({"replica", "last_lines", "chain"})
"""Fields that the machine's history does not repeat: in front of the line, in a log, or a file."""


class Happening(msgspec.Struct, frozen=True):
    """An event or an action; `str()` writes it on one line, for the machine's history."""

    def __str__(self) -> str:
        told = [f"{key}={value}" for key, value in _told(self)]
        name = [str(self.replica)] if isinstance(self, OfReplica) else []
        return " ".join([*name, type(self).__name__, *told])


def _told(part: msgspec.Struct) -> Iterator[tuple[str, object]]:
    """Yield the fields that differ from their defaults, those of inner structs as well."""
    for field in msgspec.structs.fields(part):
        value = getattr(part, field.name)
        if field.name in _ELSEWHERE:
            continue
        if isinstance(value, msgspec.Struct):
            yield from _told(value)
        elif value != field.default:
            yield field.name, f"{value:.3f}" if isinstance(value, float) else value


class OfReplica(Happening, frozen=True):
    """What happens to one replica, or is to be done to it."""

    replica: ReplicaName
