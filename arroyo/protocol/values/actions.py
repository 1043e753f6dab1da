"""What the state machines ask their shell to do. PURE.

Every part of a machine emits into the same outbox; the method that the shell has called returns
what is in it. So a call is over before anything is done about it: no part waits for its shell, and
nothing that the shell does in answer can come into the midst of a change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from arroyo.codec import BackRecord, Batch, DataRecord, Suspect
from arroyo.identifiers import ReplicaName


class Connect(msgspec.Struct, frozen=True):
    """Make the link to a replica below, in place of the one that was there.

    The shell reports its end with the same `link` number.
    """

    to: ReplicaName
    link: int


class Transmit(msgspec.Struct, frozen=True):
    """Send a record, with its messages if it is a batch, to a replica below."""

    to: ReplicaName
    record: DataRecord
    items: Sequence[Any] = ()


class Broadcast(msgspec.Struct, frozen=True):
    """Send a record, with its messages, to all subscribers."""

    record: DataRecord
    items: Sequence[Any] = ()


class Reply(msgspec.Struct, frozen=True):
    """Send a record to a replica above: a neighbour or a source."""

    to: ReplicaName
    record: BackRecord


class Release(msgspec.Struct, frozen=True):
    """Messages are finished: commit the input up to here, and let as many new ones in."""

    tokens: Sequence[Any]
    """One per message, in order; None where the listener gave none."""
    messages: int
    size: int
    items: Sequence[Any] = ()
    """Items that will never be sent again and may hold something; see `ledger.Advance`."""


class PutInQuarantine(msgspec.Struct, frozen=True):
    """A message has ended so many processes that it must not go out again: keep it for people.

    It is withheld until the shell has said whether that was done: `Source.quarantined`, or
    `Fold.quarantined`, once all actions of the call are carried out.
    """

    header: Batch
    """Tells run and base."""
    item: Any
    suspect: Suspect
    """The last of those that told of it."""
    deaths: int
    start: Any = None
    """The Start of its run, if there is one."""


class Persist(msgspec.Struct, frozen=True):
    """Write this down before anything that comes after it is done: the next life has to know.

    What, and where, is said by the kinds of it: in `recovery`, and for folds in `fold.state`.
    """


Action: TypeAlias = Connect | Transmit | Broadcast | Reply | Release | PutInQuarantine | Persist

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
