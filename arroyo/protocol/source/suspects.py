"""`Suspects`: messages that processes have died of, and those in quarantine. PURE.

PROTOCOL 43: each life that ended with a message in hand counts once, however often it is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from arroyo.codec import Suspect
from arroyo.protocol.values.ranges import RangeSet

DEATHS = 3
"""A message that so many processes have died of is quarantined."""

Gap = tuple[int, int]


class _Record(msgspec.Struct):
    lives: dict[tuple[str, int, int], Suspect] = {}
    quarantined: bool = False
    withheld: bool = False
    """Whether the answer of quarantine is awaited."""
    due: bool = False
    """Whether it was to be sent while it was withheld."""


class Suspects:
    """The suspects of one source, by sequence."""

    def __init__(self) -> None:
        self._records: dict[int, _Record] = {}
        self.last = 0
        """Incarnation of the last replica that reported any."""

    def hear(self, suspect: Suspect) -> None:
        """Note who reported last. PROTOCOL 44: replicas ask that of what they take."""
        self.last = max(self.last, suspect.incarnation)

    def accuse(self, suspect: Suspect) -> int:
        """Note a death; returns of how many the message is suspected now.

        0: it is in quarantine, or withheld; replicas go on telling of the deaths that led there.
        """
        record = self._records.setdefault(suspect.sequence, _Record())
        if record.quarantined or record.withheld:
            return 0
        record.lives[suspect.stage, suspect.replica, suspect.incarnation] = suspect
        return len(record.lives)

    def withhold(self, sequence: int) -> None:
        """Keep a message back until quarantine has answered."""
        record = self._records.setdefault(sequence, _Record())
        record.withheld, record.due = True, False

    def quarantined(self, sequence: int, *, kept: bool) -> bool:
        """Take the answer of quarantine: what it keeps is sent as a tombstone from now on.

        Returns whether it was due while it was withheld.
        """
        record = self._records.get(sequence)
        if record is None or not record.withheld:
            return False
        record.withheld, record.quarantined = False, kept
        return record.due

    def find_fatal(self, first: int, end: int) -> Iterator[tuple[Suspect, int]]:
        """Yield the last death by each message that should be in quarantine, and how many.

        Of the messages from `first` on, and without `end`.
        """
        for sequence in sorted(self._records):
            record = self._records[sequence]
            asks = len(record.lives) >= DEATHS and not record.quarantined and not record.withheld
            if first <= sequence < end and asks:
                yield list(record.lives.values())[-1], len(record.lives)

    def forget_below(self, frontier: int) -> None:
        """Everything below `frontier` is finished."""
        if self._records:
            for sequence in [number for number in self._records if number < frontier]:
                del self._records[sequence]

    def sort(self, lost: Iterable[Gap]) -> tuple[list[Gap], list[int], list[int]]:
        """Sort what has to be sent again; what is withheld is left out, and noted as due.

        Returns
        -------
        list
            Ranges without suspects.
        list
            Sequences of suspects, which have to go alone.
        list
            Sequences that are in quarantine.
        """
        lost = list(lost)
        if not self._records:
            return lost, [], []
        known = [
            (number, self._records[number])
            for number in sorted(self._records)
            if any(first <= number < end for first, end in lost)
        ]
        marked = RangeSet((number, number + 1) for number, _ in known)
        clear = [gap for first, end in lost for gap in marked.missing(first, end)]
        for _, record in known:
            record.due = record.due or record.withheld
        alone = [number for number, record in known if not (record.quarantined or record.withheld)]
        return clear, alone, [number for number, record in known if record.quarantined]
