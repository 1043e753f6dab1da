"""`JournalState`: what a source with a replayable input has to know in its next life. PURE.

The source asks its shell to note each change before it acts on it (`Note`), so that whatever left
the process, or was told to the input, is known to the life after. Rules:
- A message's place, its sequence, is noted by its token before it is sent.
- The frontier is noted, with the tokens that it passes, before they are acknowledged: a death in
  between leaves messages that come again although they are finished, and are recognised.
- Each death of a process by a message is noted, or a poisonous one would begin anew to end
  processes whenever the source has died.
- Start and Stop are noted whole, since a listener may not hand them over again.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import msgspec

from arroyo.codec import Suspect
from arroyo.errors import EncodeError

Mark: TypeAlias = bytes
"""A token as it is noted."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")

NO_TOKEN: Mark = _encoder.encode(None)


def mark_of(token: Any) -> Mark:
    """Encode a token, so that it can be kept and compared.

    Raises
    ------
    EncodeError
        It is of a kind that can't be kept.
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


class Progress(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Everything below `frontier` is finished.

    Attributes
    ----------
    attempts
        Rounds of sending again so far.
    buried
        How many messages of the open run ended on the way, by reason, below the frontier.
    missing
        Sequences of the open run that the input has lost.
    marks
        Tokens that are going to be acknowledged now.
    """

    frontier: int
    attempts: int
    buried: dict[int, int]
    missing: tuple[tuple[int, int], ...]
    marks: tuple[Mark, ...] = ()


class Accused(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A process has died of a message that is under way."""

    suspect: Suspect


Memo: TypeAlias = RunOpened | Sent | RunClosing | Progress | Accused


class Note(NamedTuple):
    """Action: write this down before anything that comes after it is done."""

    memo: Memo


class JournalState(msgspec.Struct, array_like=True, tag=0):
    """All notes of a source taken together.

    Attributes
    ----------
    epoch
        In which sequences count, over all lives.
    frontier, attempts, buried, missing
        As in `Progress`.
    finished
        Tokens that may not have been acknowledged although they are finished.
    run
        The run that is open.
    closed, closing
        A run whose Stop has been sent and is not finished, and that Stop.
    first, marks
        Tokens of the events of `run` from sequence `first` on, which are not all finished.
    suspects
        Deaths of processes by messages that are not finished.
    """

    epoch: int
    frontier: int = 0
    attempts: int = 0
    buried: dict[int, int] = {}
    missing: tuple[tuple[int, int], ...] = ()
    finished: tuple[Mark, ...] = ()
    run: RunOpened | None = None
    closed: RunOpened | None = None
    closing: RunClosing | None = None
    first: int = 0
    marks: list[Mark] = []
    suspects: tuple[Suspect, ...] = ()

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

    def apply(self, memo: Memo) -> None:
        """Take up one more note."""
        if isinstance(memo, Sent):
            if not self.marks:
                self.first = memo.first
            self.marks += memo.marks
        elif isinstance(memo, Progress):
            self._advance(memo)
        elif isinstance(memo, RunOpened):
            self.run, self.buried, self.missing = memo, {}, ()
        elif isinstance(memo, Accused):
            under_way = self.frontier <= memo.suspect.sequence < self.next
            if under_way and memo.suspect not in self.suspects:
                self.suspects += (memo.suspect,)
        else:
            self.run, self.closed, self.closing = None, self.run, memo
            self.buried, self.missing = {}, ()  # the Stop tells them

    def _advance(self, memo: Progress) -> None:
        self.frontier, self.attempts = memo.frontier, memo.attempts
        self.buried, self.missing, self.finished = memo.buried, memo.missing, memo.marks
        self.suspects = tuple(each for each in self.suspects if each.sequence >= memo.frontier)
        passed = memo.frontier - self.first
        if passed > 0:
            del self.marks[:passed]
            self.first = memo.frontier
        if self.closing is not None and memo.frontier > self.closing.first:
            self.closed = self.closing = None
