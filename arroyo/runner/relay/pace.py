"""How fast a stage's code is, as those above are told: they make batches after that. PURE.

PROTOCOL 8: a batch holds what the receiver does in `BATCH_S`. Code that takes lists may take as
long over one message as over a thousand (a commit, a request to a server), so its time per message
is that of the list's length: told as it is, batches would get ever shorter.
"""

from __future__ import annotations

from arroyo.protocol.values.flow_limits import BATCH_S

_WEIGHT = 0.8
"""What a batch counts when the next one comes."""
_ALIKE = 0.01
"""Lengths that vary by less than a tenth (squared) say nothing about the time per list."""
_STEP = 4.0
"""Batches get longer by no more than this at once: times vary."""


class SinglePace:
    """The speed of code that gets single messages."""

    def __init__(self) -> None:
        self.message_s = 0.0
        """How long it takes over one message, in s, for the purpose of making batches."""

    def note(self, count: int, took_s: float) -> None:
        """It took so long over so many messages."""
        self.message_s += (took_s / count - self.message_s) / 4


class ListPace(SinglePace):
    """The speed of code that gets lists: a time per list, and one per message in it.

    Both are found by a straight line through the times of the last lists. Batches are so long that
    the messages take `BATCH_S`, or as long as the list itself does. Where all lists are of the same
    length, a longer one is tried.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lists = self._n = self._t = self._nn = self._nt = 0.0
        """Sums over the last lists: of 1, their lengths, their times, and products of these."""

    def note(self, count: int, took_s: float) -> None:
        """It took so long over one list."""
        added = (1.0, count, took_s, count * count, count * took_s)
        sums = (self._lists, self._n, self._t, self._nn, self._nt)
        self._lists, self._n, self._t, self._nn, self._nt = (
            _WEIGHT * before + now for before, now in zip(sums, added, strict=True)
        )
        mean_n, mean_s = self._n / self._lists, self._t / self._lists
        usual = BATCH_S * mean_n / max(mean_s, 1e-9)
        self.message_s = BATCH_S / max(usual, self._length(usual, mean_n, mean_s))

    def _length(self, usual: float, mean_n: float, mean_s: float) -> float:
        """Return how long batches should be; `usual`: if the list itself took no time."""
        variance = self._nn / self._lists - mean_n * mean_n
        if variance < _ALIKE * mean_n * mean_n:
            return max(2.0, 1.5 * mean_n) if usual < 1.2 * mean_n else 0.0
        message_s = max(1e-9, (self._nt / self._lists - mean_n * mean_s) / variance)
        list_s = mean_s - message_s * mean_n
        return min(max(BATCH_S, list_s) / message_s, _STEP * mean_n)


def make_pace(*, takes_lists: bool) -> SinglePace:
    """Make the one for a stage's code; it may be told nothing before the code has opened."""
    return ListPace() if takes_lists else SinglePace()
