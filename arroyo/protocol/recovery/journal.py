"""`JournalState`: what a source with a replayable input has to know in its next life. PURE.

The source asks its shell to note each change before it acts on it (`NoteEntry`), so that whatever
left the process, or was told to the input, is known to the life after. Rules:
- A message's place, its sequence, is noted by its token before it is sent.
- The frontier is noted, with the tokens that it passes, before they are acknowledged: a death in
  between leaves messages that come again although they are finished, and are recognised.
- Each death of a process by a message is noted, or the count of a poisonous one would start over
  with each life of the source.
- Start and Stop are noted whole, since a listener may not hand them over again.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from arroyo.codec import Suspect
from arroyo.errors import EncodeError
from arroyo.protocol.values.actions import Persist

Mark: TypeAlias = bytes
"""A token as it is noted."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")

NO_TOKEN: Mark = _encoder.encode(None)


def mark_of(token: Any) -> Mark:
    """Encode a token, so that it can be kept and compared.

    EncodeError: it is of a kind that can't be kept.
    """
    try:
        return _encoder.encode(token)
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodeError(
            f"the token {token!r:.60} can't be kept for the next life ({error}); use numbers, "
            "strings, bytes, or lists of them"
        ) from error


class RunOpened(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A run has begun, with the Start `item` of sequence `first`, or with its first event."""

    run: str
    implicit: bool
    first: int
    item: Any = None
    mark: Mark = NO_TOKEN

    @property
    def base(self) -> int:
        """Sequence of its first event."""
        return self.first if self.implicit else self.first + 1


class Sent(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Events of these tokens have the sequences from `first` on."""

    first: int
    marks: tuple[Mark, ...]


class RunClosing(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The Stop `item` of the open run has the sequence `first`; nothing can come behind it."""

    first: int
    item: Any
    mark: Mark = NO_TOKEN


class FrontierMoved(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Everything below `frontier` is finished."""

    frontier: int
    attempts: int
    """Rounds of sending again so far."""
    ended: dict[int, int]
    """How many messages of the open run ended on the way, by reason, below the frontier."""
    missing: tuple[tuple[int, int], ...]
    """Sequences of the open run that the input has lost."""
    marks: tuple[Mark, ...] = ()
    """Tokens that are going to be acknowledged now."""


class ProcessDied(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A process has died of a message that is in flight."""

    suspect: Suspect


JournalEntry: TypeAlias = RunOpened | Sent | RunClosing | FrontierMoved | ProcessDied


class NoteEntry(Persist, frozen=True):
    """A change of a replayable source."""

    entry: JournalEntry


class JournalState(msgspec.Struct, array_like=True, tag=0):
    """All notes of a source taken together."""

    epoch: int
    """In which sequences count, over all lives."""
    frontier: int = 0
    attempts: int = 0
    ended: dict[int, int] = {}
    missing: tuple[tuple[int, int], ...] = ()
    """All four as in `FrontierMoved`."""
    finished: tuple[Mark, ...] = ()
    """Tokens that may not have been acknowledged although they are finished."""
    run: RunOpened | None = None
    """The run that is open."""
    closed: RunOpened | None = None
    closing: RunClosing | None = None
    """A run whose Stop has been sent and is not finished, and that Stop."""
    first: int = 0
    marks: list[Mark] = []
    """Tokens of the events of `run` from sequence `first` on, which are not all finished."""
    suspects: tuple[Suspect, ...] = ()
    """Deaths of processes by messages that are not finished."""

    @property
    def next(self) -> int:
        """The first sequence that has no message yet."""
        ends = [self.frontier]
        if self.marks:
            ends.append(self.first + len(self.marks))
        if self.run is not None:
            ends.append(self.run.base)
        if self.closing is not None:
            ends.append(self.closing.first + 1)
        return max(ends)

    def apply(self, entry: JournalEntry) -> None:
        """Take up one more note."""
        if isinstance(entry, Sent):
            if not self.marks:
                self.first = entry.first
            self.marks += entry.marks
        elif isinstance(entry, FrontierMoved):
            self._advance(entry)
        elif isinstance(entry, RunOpened):
            self.run, self.ended, self.missing = entry, {}, ()
        elif isinstance(entry, ProcessDied):
            in_flight = self.frontier <= entry.suspect.sequence < self.next
            if in_flight and entry.suspect not in self.suspects:
                self.suspects += (entry.suspect,)
        else:
            self.run, self.closed, self.closing = None, self.run, entry
            self.ended, self.missing = {}, ()  # the Stop tells them

    def _advance(self, entry: FrontierMoved) -> None:
        self.frontier, self.attempts = entry.frontier, entry.attempts
        self.ended, self.missing, self.finished = entry.ended, entry.missing, entry.marks
        self.suspects = tuple(each for each in self.suspects if each.sequence >= entry.frontier)
        passed = entry.frontier - self.first
        if passed > 0:
            del self.marks[:passed]
            self.first = entry.frontier
        if self.closing is not None and entry.frontier > self.closing.first:
            self.closed = self.closing = None
