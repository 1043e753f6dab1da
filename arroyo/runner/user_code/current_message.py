"""`CurrentMessage`: which message a stage's code works on, and when to leave the batch. PURE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from arroyo.codec import Batch
from arroyo.messages import Fragment, Message, Origin
from arroyo.protocol.values.deliveries import Work, origins_of

Word: TypeAlias = memoryview | list[int]
"""One number, of the status page or of a test."""

_WORD = (1 << 64) - 1


class CurrentMessage:
    """Notes each message before the stage's code gets it.

    Those loops write it down themselves, as a call for each message would cost them a tenth of
    their time: `sequence[0] = sequence`, the message's origin as `make_origin` and the
    sequence, and `note_part` for a part of a split message.

    Parameters
    ----------
    sequence, part, end
        Words of the status page, from which the supervisor tells whose fault a death was.
        `end` is not 0 while a list is worked on: one more than the sequence of its last message.
    """

    __slots__ = ("_batch", "due", "end", "make_origin", "part", "sequence", "singly")

    make_origin: Callable[[int, Fragment], Origin]
    """Makes the origin of a message of the batch in hand, if somebody asks for it."""

    def __init__(self, sequence: Word, part: Word, end: Word) -> None:
        self.sequence = sequence
        self.part = part
        self.end = end
        self.singly = False
        """The batch in hand is not to be worked on as a list: that has failed, or may be fatal."""
        self._batch: tuple[str, int, int] | None = None
        self.due: list[bool] = []
        """Not empty: stop before the next message, so that the results so far are sent on."""

    def take_up(
        self, batch: Batch, work: Sequence[Work], may_kill: Callable[[Batch, int, int], bool]
    ) -> None:
        """The code works on a batch from here on, or on what is left of it.

        `may_kill`: tells whether a list of the messages from one to another may be fatal.
        """
        self.make_origin = origins_of(batch)
        name = batch.sender, batch.link, batch.number
        if name != self._batch:
            self._batch = name
            self.singly = bool(work) and may_kill(batch, work[0][0], work[-1][0] + 1)

    def note_part(self, message: Message, sequence: int, fragment: Fragment) -> None:
        """Note which part of a split message it is."""
        message._origin = sequence, fragment
        self.part[0] = hash(fragment) & _WORD
