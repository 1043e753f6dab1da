"""`Lending`: views of shared memory that a stage's code keeps for longer than it was given them.

A slab is given back once every sink has finished its message, and then holds another payload. So
whatever the code still holds when it is done with a message is made private where it lies, before
anybody is told that the message is done with. That takes time for each, so a stage that does it
again and again gets copies from then on, which are its own (decision 23).
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from arroyo.errors import UnavailableError
from arroyo.messages import Fragment
from arroyo.protocol.values.deliveries import Work

from .pages import LentSlab, lent_slab
from .payloads import PayloadStore

_log = logging.getLogger(__name__)

KEPT_IN_PLACE = 8
"""So many kept views are made private; then payloads are copied. A thread that lets go of a view
a little late, or a dark image that is kept for a run, is no reason to copy everything."""


class Loan(NamedTuple):
    """A payload in shared memory that the stage's code gets: of which message, and what dies."""

    sequence: int
    fragment: Fragment
    slab: weakref.ref[LentSlab]


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

    def lend(self, work: Sequence[Work]) -> list[Loan]:
        """Note which payloads of messages lie in shared memory, before they are worked on."""
        loans = []
        for sequence, fragment, message in work:
            slab = lent_slab(getattr(message, "payload", None))
            if slab is not None:
                loans.append(Loan(sequence, fragment, weakref.ref(slab)))
        return loans

    def settle(self, loans: Iterable[Loan]) -> None:
        """Keep as it is what is still held of what was lent.

        Nothing of ours may hold it any more, and nobody have heard that it is done with.

        Raises
        ------
        UnavailableError
            There is no memory.
        """
        for loan in loans:
            slab = loan.slab()
            if slab is not None:
                self._keep(slab)

    def _keep(self, slab: LentSlab) -> None:
        try:
            self._payloads.make_private(slab)
        except OSError as error:
            raise UnavailableError(
                f"{self._target} keeps payloads, and there is no memory for them: {error.strerror}"
            ) from error
        self._kept += 1
        if self._kept == KEPT_IN_PLACE:
            self._payloads.copies = True
            _log.warning(
                "%s keeps payloads after process() or publish() has returned. They stay what they "
                "are, but from now on each payload is copied for this stage, which takes time: "
                "keep event.copy() of the events that are needed later, and no views of others",
                self._target,
            )


def forget_messages(work: list[Work]) -> None:
    """Let go of messages that were worked on; where they belong stays known."""
    work[:] = [(sequence, fragment, None) for sequence, fragment, _ in work]
