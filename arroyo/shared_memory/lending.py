"""`Lending`: views of shared memory that a stage's code keeps for longer than it was given them.

A slab is given back once every sink has finished its message, and then holds another payload. So
whatever the code still holds when it is done with a message is made private where it lies, before
anybody is told that the message is done with. That takes time for each, so a stage that does it
again and again gets copies from then on, which are its own (decision 23).
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from arroyo.errors import UnavailableError
from arroyo.protocol.values.deliveries import Row, Work

from .pages import LentSlabs, lent_slabs
from .payloads import PayloadStore

_log = logging.getLogger(__name__)

KEPT_IN_PLACE = 8
"""So many kept views are made private; then payloads are copied. A thread that lets go of a view
a little late, or a dark image that is kept for a run, is no reason to copy everything."""


class Loan(NamedTuple):
    """Shared memory that the stage's code has, for one message or for several."""

    number: int
    """Place of the last of the messages among those that are worked on."""
    work: Any
    """Sequence, fragment, and the message, for as long as it is not done; of several messages, what
    is to be worked on."""
    view: int
    """Id of the view that the message came with; 0: of several messages."""
    slabs: weakref.ref[LentSlabs]
    """Dies with the last view of the payload, or of all of them."""

    def forget(self) -> None:
        """Nobody here needs the messages any more."""
        if self.view:
            self.work[2] = None
        elif isinstance(self.work, Row):
            self.work.forget()
        else:
            self.work[:] = [(sequence, fragment, None) for sequence, fragment, _ in self.work]


class Loans:
    """The loans of one batch, in the order in which its messages are worked on."""

    def __init__(self, loans: Iterable[Loan]) -> None:
        self._left = deque(loans)
        self._done = 0

    def take(self, count: int) -> list[Loan]:
        """Return the loans of the next so many messages, which are done."""
        self._done += count
        taken = []
        while self._left and self._left[0].number < self._done:
            taken.append(self._left.popleft())
        return taken

    def take_torn(self, count: int) -> list[Loan]:
        """Return the loans of several messages, of which the next so many are done, not all."""
        torn = [loan for loan in self._left if not loan.view and loan.number >= self._done + count]
        for loan in torn:
            self._left.remove(loan)
        return torn


class Lending:
    """What one stage was lent.

    Parameters
    ----------
    payloads
        Of its replica.
    target
        What the stage is called in the log.
    """

    def __init__(self, payloads: PayloadStore, target: str) -> None:
        self._payloads = payloads
        self._target = target
        self._kept = 0

    @property
    def has_kept(self) -> bool:
        """Whether the stage's code has ever kept what it was lent."""
        return self._kept > 0

    def lend(self, work: Sequence[Work]) -> tuple[Sequence[Work], Loans]:
        """Note which payloads lie in shared memory, before their messages are worked on.

        Returns the work as it is to be passed on from here: in its place, each of these messages
        can be forgotten when it is done.
        """
        if together := self._payloads.together:
            work = work if isinstance(work, Row) else list(work)
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

    def settle(self, loans: Iterable[Loan]) -> None:
        """Keep as it is what is still held of what was lent.

        Nothing of ours may hold it any more, and nobody have heard that it is done with.

        Raises
        ------
        UnavailableError
            There is no memory.
        """
        for loan in loans:
            slabs = loan.slabs()
            if slabs is not None:
                self._make_private(slabs)
                self._note_kept()

    def tear(self, loans: Iterable[Loan]) -> None:
        """Some of the messages of each loan are done, and go on before the others; errors as above.

        It can't be told whether the code still holds those.
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
                "%s keeps payloads after process() or publish() has returned. They stay what they "
                "are, but from now on each payload is copied for this stage, which takes time: "
                "keep event.copy() of the events that are needed later, and no views of others",
                self._target,
            )
