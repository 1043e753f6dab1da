"""The stage that holds a chain up, and why, in words. PURE.

A stage is *blocked* while it can take nothing more. An operator waits for the stages right below
it to have room; a listener, whose window holds what is not finished, for all of them. So the one to
blame is the stage below a blocked one that works most of the time, or does not work at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from arroyo.supervision.decisions.events import State
from arroyo.supervision.reporting.formats import percent

if TYPE_CHECKING:
    from .chain_view import ReplicaView, StageView

BLOCKED = 0.1
"""From this share of the time on a stage counts as blocked: short waits are the way of bursts."""
BUSY = 0.5
"""From this share of the time on a replica can be to blame."""
_AWAY, _OUTSIDE = 3.0, 2.0
"""Guilt of a replica that is not there, and of one that waits for the outside; others are busy for
a share of the time."""


class Bottleneck(msgspec.Struct, frozen=True):
    """What holds a chain up."""

    stage: str | None
    """None: a stage is blocked, but none of those below is busy."""
    words: str
    """One sentence for people."""


def find_bottleneck(stages: Mapping[str, StageView]) -> Bottleneck | None:
    """Return what holds the chain up; None where no stage is blocked.

    `stages`: all of a chain, by name.
    """
    blocked = {name: share for name, each in stages.items() if (share := _blocked(each)) >= BLOCKED}
    if not blocked:
        return None
    guilt = {
        name: _guilt(stage)
        for name, stage in stages.items()
        if blocked.keys() & set(_waiting_for(stages, name))
    }
    worst = max(guilt, key=lambda name: guilt[name], default=None)
    if worst is None or guilt[worst] < BUSY:
        return Bottleneck(None, f"{_say_waiting(blocked)}, but no stage below is busy")
    right_above = [name for name in _pushed_from(stages[worst]) if name in blocked]
    waiting = right_above or [name for name in _waiting_for(stages, worst) if name in blocked]
    shares = {name: blocked[name] for name in waiting}
    why = _say_why(stages[worst])
    return Bottleneck(worst, f"{worst} holds the chain up: {why}; {_say_waiting(shares)}")


def _blocked(stage: StageView) -> float:
    # Not the mean: one replica in a jam would be hidden by the others.
    return max((replica.figures.blocked or 0.0 for replica in stage.replicas), default=0.0)


def _pushed_from(stage: StageView) -> Iterator[str]:
    """Yield the stages right above that it can hold up."""
    return (name for name, link in stage.inputs if link == "push-pull")


def _waiting_for(stages: Mapping[str, StageView], name: str) -> Iterator[str]:
    """Yield the stages that wait where this one is slow: those right above, and its listeners."""
    above = dict.fromkeys(_pushed_from(stages[name]))
    yield from above
    seen = set(above)
    front = list(above)
    while front:
        stage = front.pop()
        if stages[stage].role == "listener" and stage not in above:
            yield stage
        more = [each for each in _pushed_from(stages[stage]) if each not in seen]
        seen.update(more)
        front += more


def _guilt(stage: StageView) -> float:
    return max(map(_guilt_of, _in_use(stage)), default=0.0)


def _in_use(stage: StageView) -> Sequence[ReplicaView]:
    """Return its replicas without those that somebody has stopped, as long as others are left."""
    return [each for each in stage.replicas if each.state != State.STOPPED] or stage.replicas


def _guilt_of(replica: ReplicaView) -> float:
    if replica.state not in {State.READY, State.DEGRADED}:
        return _AWAY
    return _OUTSIDE if replica.waits_outside else replica.figures.busy or 0.0


def _say_why(stage: StageView) -> str:
    guilt = [_guilt_of(replica) for replica in _in_use(stage)]
    if _AWAY in guilt:
        away = _in_use(stage)[guilt.index(_AWAY)]
        return _count(guilt.count(_AWAY), stage) + away.state
    if _OUTSIDE in guilt:
        return f"{_count(guilt.count(_OUTSIDE), stage)}waiting for the outside"
    busy = [share for share in guilt if share >= BUSY]
    return f"{_count(len(busy), stage)}busy {percent(sum(busy) / len(busy))}"


def _count(some: int, stage: StageView) -> str:
    whole = len(_in_use(stage))
    return "" if whole == 1 else f"{some} of {whole} replicas "


def _say_waiting(blocked: Mapping[str, float]) -> str:
    shares = [percent(share) for share in blocked.values()]
    verb = "waits" if len(blocked) == 1 else "wait"
    return f"{_join(list(blocked))} {verb} {_join(shares)} of the time"


def _join(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
