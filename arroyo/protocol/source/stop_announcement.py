"""`StopAnnouncement`: when the end of a run is told to the folds below, before its Stop. PURE.

PROTOCOL 55: once all that is not finished is held by folds, they are to give it out. It is told
again after each round of sending again, in which it may have been lost. Where no Stop follows it is
told once more when all is finished, for folds without a bound: they do not say what they hold.
"""

from __future__ import annotations

from .input import MakeStop, Run
from .ledger import Ledger


class StopAnnouncement:
    """The end of the run that is open, or of the one that was open last."""

    def __init__(self, ledger: Ledger) -> None:
        self.make_stop: MakeStop | None = None
        """Makes the Stop that was announced from above; None where none was."""
        self._ledger = ledger
        self._noted_at = 0
        self._told = -1
        """The round of sending again in which it was told last."""

    def begin_run(self) -> None:
        """Another run is open: nothing is told of its end."""
        self.make_stop, self._told = None, -1

    def note(self, make_stop: MakeStop | None) -> None:
        """The end was announced from above: it is told below, and again where more came since.

        That happens after the death of a fold further above.
        """
        ledger = self._ledger
        if self.make_stop is not None and ledger.next > self._noted_at:
            ledger.attempts = max(ledger.attempts, self._told + 1)
        self.make_stop, self._noted_at = make_stop, ledger.next

    def begin_round(self, run: Run) -> int | None:
        """Return the number of the round in which it is told now; None where it is not."""
        ledger = self._ledger
        if not ledger.quiet or (ledger.empty and not run.implicit):
            return None
        number = ledger.attempts + ledger.empty
        if self._told >= number:
            return None
        self._told = number
        return number

    def is_over(self, run: Run | None) -> bool:
        """Whether those below have heard that all of a run without a Stop is finished, as it is."""
        if self.make_stop is None or self._noted_at != self._ledger.next:
            return False
        return run is None or self._told > self._ledger.attempts
