"""`Outbox`: what the parts of a state machine ask for in the course of one call, in order. PURE.

Every part of a machine emits into the same outbox; the method that the shell has called returns
what is in it. So a call is over before anything is done about it: no part waits for its shell, and
nothing that the shell does in answer can come into the midst of a change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .actions import Action

Emit: TypeAlias = Callable[[Action], None]
"""Where a part says what it wants done: `Outbox.emit`, or what stands in front of it."""


class Outbox:
    """The actions of one call."""

    __slots__ = ("_actions",)

    def __init__(self) -> None:
        self._actions: list[Action] = []

    def emit(self, action: Action) -> None:
        """Ask for something, behind all that was asked for before."""
        self._actions.append(action)

    def take(self) -> list[Action]:
        """Return what was asked for, and be empty again."""
        actions, self._actions = self._actions, []
        return actions
