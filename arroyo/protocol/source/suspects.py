"""`Suspects`: messages that processes have died of, and those that go out no more. PURE.

A message is told of once for each life that ended with it in hand, however often that is said.
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
    buried: bool = False
    withheld: bool = False
    """Whether nobody knows yet if quarantine keeps it."""
    due: bool = False
    """Whether it should have gone out while it was withheld."""


class Suspects:
    """What a source knows against its messages, by sequence."""

    def __init__(self) -> None:
        self._records: dict[int, _Record] = {}
        self.last = 0
        """Incarnation of the last replica that told of any of them."""

    def hear(self, suspect: Suspect) -> None:
        """A replica has told of a message; it takes suspects only from whoever knows."""
        self.last = max(self.last, suspect.incarnation)

    def accuse(self, suspect: Suspect) -> int:
        """Note a death; returns of how many the message is suspected now.

        0: it is buried, or withheld; replicas go on telling of the deaths that led there.
        """
        record = self._records.setdefault(suspect.sequence, _Record())
        if record.buried or record.withheld:
            return 0
        record.lives[suspect.stage, suspect.replica, suspect.incarnation] = suspect
        return len(record.lives)

    def withhold(self, sequence: int) -> None:
        """The message does not go out until it is known whether quarantine keeps it."""
        record = self._records.setdefault(sequence, _Record())
        record.withheld, record.due = True, False

    def quarantined(self, sequence: int, *, kept: bool) -> bool:
        """The message goes out no more where it is kept: others get a tombstone.

        Returns whether it was due while it was withheld.
        """
        record = self._records.get(sequence)
        if record is None or not record.withheld:
            return False
        record.withheld, record.buried = False, kept
        return record.due

    def find_fatal(self, first: int, end: int) -> Iterator[tuple[Suspect, int]]:
        """Yield the last death by each message that should be in quarantine, and how many.

        Of the messages from `first` on, and without `end`.
        """
        for sequence in sorted(self._records):
            record = self._records[sequence]
            asks = len(record.lives) >= DEATHS and not record.buried and not record.withheld
            if first <= sequence < end and asks:
                yield list(record.lives.values())[-1], len(record.lives)

    def forget_below(self, frontier: int) -> None:
        """Everything below `frontier` is finished."""
        for sequence in [number for number in self._records if number < frontier]:
            del self._records[sequence]

    def sort(self, lost: Iterable[Gap]) -> tuple[list[Gap], list[int], list[int]]:
        """Split what has to go out again; what is withheld is left out, and noted as due.

        Returns
        -------
        list
            Ranges without anything against them.
        list
            Sequences of messages that have to go alone.
        list
            Sequences that are buried.
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
        alone = [number for number, record in known if not (record.buried or record.withheld)]
        return clear, alone, [number for number, record in known if record.buried]
