"""What the state machines ask their shell to do. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from arroyo.codec import BackRecord, Batch, DataRecord, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.fold.state import NoteFold
from arroyo.protocol.recovery.journal import Note
from arroyo.protocol.recovery.unclosed_run import NoteCounts, NoteRuns


class Connect(NamedTuple):
    """Make the link to a replica below, in place of the one that was there.

    The shell reports its end with the same `link` number.
    """

    to: ReplicaName
    link: int


class Transmit(NamedTuple):
    """Send a record, with its messages if it is a batch, to a replica below."""

    to: ReplicaName
    record: DataRecord
    items: Sequence[Any] = ()


class Broadcast(NamedTuple):
    """Send a record, with its messages, to all subscribers."""

    record: DataRecord
    items: Sequence[Any] = ()


class Reply(NamedTuple):
    """Send a record to a replica above: a neighbour or a source."""

    to: ReplicaName
    record: BackRecord


class Release(NamedTuple):
    """Messages are finished: commit the input up to here, and let as many new ones in."""

    tokens: Sequence[Any]
    """One per message, in order; None where the listener gave none."""
    messages: int
    size: int
    items: Sequence[Any] = ()
    """Items that will never be sent again and may hold something; see `ledger.Advance`."""


class PutInQuarantine(NamedTuple):
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


Action: TypeAlias = (
    Connect
    | Transmit
    | Broadcast
    | Reply
    | Release
    | PutInQuarantine
    | Note
    | NoteRuns
    | NoteCounts
    | NoteFold
)
