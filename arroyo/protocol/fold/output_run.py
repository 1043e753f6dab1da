"""`OutputRun`: the outputs of a fold that belong to one run, sent as by a source. PURE.

Runs that overlap above do so below as well, so each has its own ledger and its own row of
sequences, in an epoch of its own (PROTOCOL 56). The links are shared, and are the business of
`FoldOutputs`.
"""

from __future__ import annotations

from arroyo.protocol.source.reliable_sender import ReliableSender

from .state import OpenOutputs


class OutputRun:
    """The outputs of a fold that belong to one run.

    `sender`: sends and keeps them. Its ledger begins where the next output has the number that it
    would have had in the life before.
    """

    def __init__(self, sender: ReliableSender, former: OpenOutputs | None) -> None:
        self.sender = sender
        self.ledger = sender.ledger
        self.handed_ns = 0
        """When the oldest input was handed over that is in no output yet; 0: unknown."""
        self._sequencer = sender.sequencer
        self._former = 0 if former is None else former.finished
        self._followed = False

    @property
    def over(self) -> bool:
        """Whether its run has ended, and all of it is finished.

        One without a Start has no Stop either: it is over when it was followed, or its end has
        been announced. If more comes of it all the same, that is given out as by the next life,
        under the numbers that follow.
        """
        sequencer = self._sequencer
        ended = sequencer.end is not None or (
            not sequencer.started
            and (self._followed or sequencer.announcement.is_over(sequencer.run))
        )
        return ended and self.ledger.empty and not sequencer.waits

    def follow(self) -> None:
        """Other runs of the same source above have begun, so nothing more comes of this one."""
        self._followed = True

    @property
    def finished(self) -> int:
        """How many outputs of the run are finished, those of former lives counted."""
        frontier, end = self.ledger.frontier, self._sequencer.end
        last = frontier if end is None else min(frontier, end)
        return max(self._former, last - self._sequencer.base)
