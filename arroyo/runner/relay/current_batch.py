"""`CurrentBatch`: the batch that a stage's code works on, and what it was lent with it.

The messages, their payloads and the views of shared memory have several holders here: what is to be
worked on, the reader, which can read a message anew, and the views that may be passed on. All of
them let go of a message before anything that comes of it leaves: it may be finished by a sink at
once, and its slab used again, and whatever the stage's code keeps must never be written over.
"""

from __future__ import annotations

from collections.abc import Sequence

from arroyo.protocol.values.deliveries import Work
from arroyo.runner.user_code.batch_reader import BatchReader
from arroyo.shared_memory.kept_views import KeptViews, Loan, Loans
from arroyo.shared_memory.payloads import PayloadStore

WHOLE_AFTER = 8
"""After this number of batches that went on whole, the next one is expected to."""


class CurrentBatch:
    """Holds one batch from when it is read until all of it is done."""

    def __init__(self, reader: BatchReader, payloads: PayloadStore, kept_views: KeptViews) -> None:
        self._reader = reader
        self._payloads = payloads
        self._kept_views = kept_views
        self._loans: Loans | None = None
        self._whole = 0
        """Batches in a row that have gone on whole."""

    @property
    def goes_on_whole(self) -> bool:
        """Return True if the next batch will probably be done before any part of it goes on.

        If they are, and the code keeps nothing, it needn't be known what of a batch it still has.
        """
        return self._whole >= WHOLE_AFTER and not self._kept_views.has_kept

    def take_up(self, work: Sequence[Work]) -> Sequence[Work]:
        """Return what is to be worked on; nothing else here keeps what was lent of it."""
        if self._payloads.lends:
            work, self._loans = self._kept_views.lend(work)
        return work

    def put_down_first(self, count: int) -> Sequence[Loan]:
        """So many of the messages that are left are done, and go on before the others.

        Returns what was lent of them, and of which only the stage's code has a part now.
        """
        if self._loans is None:
            return ()
        self._kept_views.tear(self._loans.take_torn(count))
        loans = self._loans.take(count)
        views = {loan.view for loan in loans}
        self._reader.put_down({id(loan.work[2]) for loan in loans}, views)
        self._payloads.put_down(views)
        return _forget(loans)

    def put_down_all(self, count: int, *, whole: bool) -> Sequence[Loan]:
        """All messages are done, of which `count` have not gone on; returns as above.

        `whole`: none has.
        """
        self._whole = self._whole + 1 if whole else 0
        self._reader.put_down_all()
        self._payloads.put_down_all()
        loans, self._loans = self._loans, None
        return _forget(loans.take(count)) if loans else ()


def _forget(loans: Sequence[Loan]) -> Sequence[Loan]:
    for loan in loans:
        loan.forget()
    return loans
