"""`PathProgress`: which messages of a ledger are finished or held on one path. PURE."""

from __future__ import annotations

from arroyo.codec import Ack
from arroyo.protocol.values.finished_set import FinishedSet
from arroyo.protocol.values.paths import Terminal

from .held_by_folds import HeldByFolds


class PathProgress:
    """One path of a source, to the stage where it ends.

    `first`: everything below is finished.
    """

    def __init__(self, terminal: Terminal, first: int) -> None:
        self.finished = FinishedSet()
        self.finished.advance(first)
        self.held = HeldByFolds()
        self._replicas = terminal.replicas
        self._controls: dict[int, set[int]] = {}
        """Starts and Stops that are not finished, and which replicas have seen each."""

    def add_control(self, sequence: int) -> None:
        """Note a Start or Stop: each replica of the terminal has to see it. PROTOCOL 17."""
        self._controls[sequence] = set()

    def missing(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of a range that are neither finished nor held."""
        return self.held.missing(self.finished, first, end)

    def acknowledge(self, ack: Ack) -> None:
        """Note what is finished."""
        for first, end in ack.ranges:
            if self._controls:
                self._finish(ack, first, end)
            else:
                self.finished.add(first, end)
        for sequence, fragment in ack.fragments:
            self.finished.add(sequence, sequence + 1, fragment)
        self.finished.add_tombstones(ack.tombstones)

    def _finish(self, ack: Ack, first: int, end: int) -> None:
        for control in [sequence for sequence in self._controls if first <= sequence < end]:
            self.finished.add(first, control)
            seen = self._controls[control]
            seen.add(ack.replica)
            if len(seen) >= (ack.replicas or self._replicas):
                self.finished.add(control, control + 1)
            first = control + 1
        self.finished.add(first, end)

    def advance(self, frontier: int) -> None:
        """Forget what is below the frontier."""
        self.finished.advance(frontier)
        self.held.advance(frontier)
        if self._controls:
            for sequence in [number for number in self._controls if number < frontier]:
                del self._controls[sequence]
