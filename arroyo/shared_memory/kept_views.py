"""`KeptViews`: keeps views correct that a stage's code holds after it is done with a message.

A slab is given back once every sink has finished its message, and then holds another payload. So a
payload that the code still holds when it is done with the message is made private in place, before
the message is acknowledged or passed on. That takes time, so a stage that keeps views again and
again gets copies of its own from then on (decision 23).
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from arroyo.errors import UnavailableError
from arroyo.protocol.values.deliveries import LazyWork, Work

from .pages import LentSlabs, lent_slabs
from .payloads import PayloadStore

_log = logging.getLogger(__name__)

KEPT_IN_PLACE = 8
"""Number of kept views that are made private before payloads are copied. A thread that releases a
view a little late, or a dark image that is kept for a run, is no reason to copy everything."""


class Loan(NamedTuple):
    """Shared memory that the stage's code was lent, for one message or for several."""

    number: int
    """Index of its last message in the batch."""
    work: Any
    """Sequence, fragment and message, until that is done; for several messages, the work itself."""
    view: int
    """Id of the view that the message came with; 0: the loan is for several messages."""
    slabs: weakref.ref[LentSlabs]
    """Dies with the last view of the payloads."""

    def forget(self) -> None:
        """Drop our own references to the messages."""
        if self.view:
            self.work[2] = None
        elif isinstance(self.work, LazyWork):
            self.work.forget()
        else:
            self.work[:] = [(sequence, fragment, None) for sequence, fragment, _ in self.work]


class Loans:
    """The loans of one batch, in the order in which its messages are worked on."""

    def __init__(self, loans: Iterable[Loan]) -> None:
        self._left = deque(loans)
        self._done = 0

    def take(self, count: int) -> list[Loan]:
        """Return the loans of the next `count` messages, which are done."""
        self._done += count
        taken = []
        while self._left and self._left[0].number < self._done:
            taken.append(self._left.popleft())
        return taken

    def take_torn(self, count: int) -> list[Loan]:
        """Return the loans of several messages of which only the next `count` are done."""
        torn = [loan for loan in self._left if not loan.view and loan.number >= self._done + count]
        for loan in torn:
            self._left.remove(loan)
        return torn


class KeptViews:
    """Notes what one stage's code was lent, and preserves what it still holds when it is done.

    `target`: name of the stage's class, for the log.
    """

    def __init__(self, payloads: PayloadStore, target: str) -> None:
        self._payloads = payloads
        self._target = target
        self._kept = 0

    @property
    def has_kept(self) -> bool:
        """Whether the stage's code has ever kept a view."""
        return self._kept > 0

    def lend(self, work: Sequence[Work]) -> tuple[Sequence[Work], Loans]:
        """Note which payloads are in shared memory, before their messages are worked on.

        Returns the work to use from here on, in which a message can be dropped when it is done.
        """
        if together := self._payloads.together:
            work = work if isinstance(work, LazyWork) else list(work)
            return work, Loans([Loan(len(work) - 1, work, 0, together)])
        lent, loans = list(work), []
        for index, (sequence, fragment, message) in enumerate(work):
            payload = getattr(message, "payload", None)
            slabs = lent_slabs(payload)
            if slabs is not None:
                place = [sequence, fragment, message]
                lent[index] = cast("Work", place)
                loans.append(Loan(index, place, id(payload), weakref.ref(slabs)))
        return lent, Loans(loans)

    def preserve(self, loans: Iterable[Loan]) -> None:
        """Keep payloads as they are of which the code still holds views.

        Before that we have to drop our own views; the messages must not be acknowledged yet.

        UnavailableError: there is no memory.
        """
        for loan in loans:
            slabs = loan.slabs()
            if slabs is not None:
                self._make_private(slabs)
                self._note_kept()

    def tear(self, loans: Iterable[Loan]) -> None:
        """Keep payloads of loans of which only some messages are done; errors as in `preserve`.

        It is not known whether the code still holds views of these.
        """
        for loan in loans:
            slabs = loan.slabs()
            if slabs is not None:
                self._make_private(slabs)

    def _make_private(self, slabs: LentSlabs) -> None:
        try:
            self._payloads.make_private(slabs)
        except OSError as error:
            raise UnavailableError(
                f"{self._target} keeps payloads, and there is no memory for them: {error.strerror}"
            ) from error

    def _note_kept(self) -> None:
        self._kept += 1
        if self._kept == KEPT_IN_PLACE:
            self._payloads.copies = True
            _log.warning(
                "%s keeps payloads after process() or publish() has returned. They stay "
                "correct, but from now on each payload is copied for this stage, which takes time: "
                "keep event.copy() of the events that are needed later, and no other views",
                self._target,
            )
