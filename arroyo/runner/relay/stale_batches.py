"""`StaleBatches`: counts batches whose payloads are gone, and says when to report the loss."""

from __future__ import annotations

import logging

from arroyo.codec import Batch
from arroyo.errors import StageError
from arroyo.shared_memory.slab_reader import MissingPoolError, StaleSlabError

_log = logging.getLogger(__name__)

STALE_IN_A_ROW = 1000
"""More batches in a row whose senders have no pool are no accident: shared memory is not shared.

Where the pool is there, any number may be stale: all that waited here while it was finished
elsewhere."""
TELL_LOSS_S = 1.0
"""Losses that are found within this time are reported as one."""


class StaleBatches:
    """Counts batches in a row without a pool, and decides when the sources are to send again."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._untold = False
        self._tell_from = 0.0

    def note(self, batch: Batch, error: StaleSlabError) -> None:
        """Note that a batch is stale: its sender has died, or its messages have a new life.

        Raises
        ------
        StageError
            There were too many of them in a row.
        """
        _log.info("a batch from %s is stale: %s", batch.sender, error)
        self._in_a_row = self._in_a_row + 1 if isinstance(error, MissingPoolError) else 0
        if self._in_a_row > STALE_IN_A_ROW:
            raise StageError(
                f"no payload of {batch.sender} can be found in shared memory ({error}); "
                "all stages of a chain need the same /dev/shm"
            ) from error
        self._untold = self._untold or batch.reliable

    def note_found(self) -> None:
        """Note that the payloads of a batch were there."""
        self._in_a_row = 0

    def is_report_due(self, now: float) -> bool:
        """Return whether the sources are to hear of a loss now; once for all that came before.

        Each time they send all that is not finished, which would be stale in its turn before it
        has its turn here.
        """
        if not self._untold or now < self._tell_from:
            return False
        self._untold = False
        self._tell_from = now + TELL_LOSS_S
        return True
