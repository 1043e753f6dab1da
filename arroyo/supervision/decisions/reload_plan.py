"""What has to be done so that a running chain is as another version of its chain file says. PURE.

Both versions are compared as they are meant, with defaults filled in: an order of keys, a comment
or a default that is written out change nothing. Each key that differs is looked up in one of the
tables below, which say who reads it: the supervisor alone, the stage's own processes, or others
too. Values are not told: they may hold passwords that came from the environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from arroyo.config.graph import Chain, Stage


class Effect(StrEnum):
    """What a changed key needs."""

    LIVE = "live"
    """Nothing else: the supervisor alone reads it, each time that it needs it."""
    RESTART = "restart"
    """The stage's processes are started anew."""
    ANEW = "anew"
    """The whole chain is started anew: processes of other stages go by it, too."""


STAGE_KEYS: Mapping[str, Effect] = {
    "restart": Effect.LIVE,
    "backoff_s": Effect.LIVE,
    "process_timeout_s": Effect.LIVE,
    "start_timeout_s": Effect.LIVE,
    "memory_max_bytes": Effect.LIVE,
    "target": Effect.RESTART,
    "command": Effect.RESTART,
    "ready": Effect.RESTART,
    "options": Effect.RESTART,
    "parameters": Effect.RESTART,  # what `arroyo set` has set else is kept
    "on_error": Effect.RESTART,
    "retries": Effect.RESTART,
    "cpus": Effect.RESTART,
    "nice": Effect.RESTART,
    "open_files": Effect.RESTART,
    "env": Effect.RESTART,
    "window": Effect.RESTART,
    "when_full": Effect.RESTART,
    "name": Effect.ANEW,
    "role": Effect.ANEW,
    "inputs": Effect.ANEW,
    "replicas": Effect.ANEW,
    "order": Effect.ANEW,
    "dispatch_key": Effect.ANEW,
    "listen": Effect.ANEW,
    "window_bytes": Effect.ANEW,  # every stage has shared memory for it
    "delivery": Effect.ANEW,
}
CHAIN_KEYS: Mapping[str, Effect] = {
    "env": Effect.RESTART,  # of all stages
    "name": Effect.ANEW,
    "messages": Effect.ANEW,
}
SUPERVISOR_KEYS: Mapping[str, Effect] = {
    "max_restarts": Effect.LIVE,
    "within_s": Effect.LIVE,
    "chain_max_restarts": Effect.LIVE,
    "stop_timeout_s": Effect.LIVE,
    "on_failed": Effect.LIVE,
    "on_event": Effect.LIVE,
    "http": Effect.ANEW,
}
_WRITTEN = {"dispatch_key": "dispatch", "retries": "on_error"}
"""Names of keys in a chain file, where fields have other ones."""
_TABLES = ("options", "parameters", "env")
"""Keys of which the changed entries are named."""


class Change(msgspec.Struct, frozen=True):
    """A key that differs: ``stages.integrate.options.factor``."""

    key: str
    effect: Effect


class ReloadPlan(msgspec.Struct, frozen=True):
    """What differs, in the order of the chain file, and what that needs."""

    changes: tuple[Change, ...] = ()
    restarts: tuple[str, ...] = ()
    """Stages of which the processes are started anew, one after the other, sinks first."""

    def keys(self, effect: Effect) -> tuple[str, ...]:
        """Return the changed keys that need this."""
        return tuple(change.key for change in self.changes if change.effect is effect)


def plan_reload(before: Chain, after: Chain) -> ReloadPlan:
    """Return what leads from the version `before`, with which a chain runs, to `after`."""
    changes = list(dict.fromkeys(_differences(before, after)))
    restarts = [
        stage.name
        for level in reversed(after.levels)
        for stage in level
        if _restarts(stage.name, changes)
    ]
    return ReloadPlan(tuple(changes), tuple(restarts))


def _restarts(stage: str, changes: list[Change]) -> bool:
    return any(
        change.effect is Effect.RESTART and change.key.startswith((f"stages.{stage}.", "chain."))
        for change in changes
    )


def _differences(before: Chain, after: Chain) -> Iterator[Change]:
    yield from _compare("chain", before, after, CHAIN_KEYS)
    yield from _compare("supervisor", before.supervision, after.supervision, SUPERVISOR_KEYS)
    for name in {**before.stages, **after.stages}:
        if name in before.stages and name in after.stages:
            one, other = before.stages[name], after.stages[name]
            yield from _compare(f"stages.{name}", one, other, STAGE_KEYS)
        else:
            yield Change(f"stages.{name}", Effect.ANEW)


def _compare(
    place: str, before: msgspec.Struct, after: msgspec.Struct, effects: Mapping[str, Effect]
) -> Iterator[Change]:
    for field, effect in effects.items():
        one, other = getattr(before, field), getattr(after, field)
        if one == other and _same_types(one, other):
            continue
        if field == "target" and isinstance(after, Stage):
            yield Change(f"{place}.{after.role}", effect)
        elif field in _TABLES:
            yield from (Change(f"{place}.{field}.{key}", effect) for key in _keys(one, other))
        else:
            yield Change(f"{place}.{_WRITTEN.get(field, field)}", effect)


def _keys(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the keys of two tables of which the values differ."""
    missing = object()
    return [
        key
        for key in {**one, **other}
        if one.get(key, missing) != other.get(key, missing)
        or not _same_types(one.get(key), other.get(key))
    ]


def _same_types(one: Any, other: Any) -> bool:
    """Return False where equal values differ in their types: 1 and 1.0 are not the same option."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return all(_same_types(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return all(map(_same_types, one, other))
    return True
