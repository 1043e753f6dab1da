"""`Results`: what became of the messages of a batch, while the stage's code still works on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arroyo.codec import Body, Encoded, Reason
from arroyo.protocol.values.deliveries import Output

FILTERED = Output(reason=Reason.FILTERED)
SKIPPED = Output(reason=Reason.SKIPPED)
QUARANTINED = Output(reason=Reason.QUARANTINED)


class Results:
    """Outcomes of messages: small results in one body, and all others beside it."""

    def __init__(
        self, body: Body | None = None, others: dict[int, Encoded | Output] | None = None
    ) -> None:
        self.body = Body() if body is None else body
        self._others = {} if others is None else others
        """By their index."""

    def __len__(self) -> int:
        return self.body.length + len(self._others)

    def append(self, outcome: Encoded | Output) -> None:
        """Note what became of the next message."""
        self._others[len(self)] = outcome

    def extend(self, other: Results) -> None:
        """Note what became of the next messages."""
        # In this order, so that `so_far` never takes one of the singles for a later one.
        before, singles = len(self), other.body
        self._others |= {before + index: each for index, each in other._others.items()}
        if not self.body.length:
            self.body = singles
        else:
            for item in singles:
                self.body.append(item)

    def __getitem__(self, index: int) -> Encoded | Output:
        return self.in_order()[index]

    def in_order(self) -> Sequence[Encoded | Output]:
        """Return one outcome per message; a `Body` where nothing has to be beside it."""
        if not self._others:
            return self.body
        singles = iter(self.body)
        others = self._others
        return [others[index] if index in others else next(singles) for index in range(len(self))]

    def so_far(self) -> Sequence[Encoded | Output]:
        """Return what is there while another thread appends; the last few may be missing."""
        # In this order: all that came before one of the singles is there when it is.
        singles, others = iter(self.body.so_far()), dict(self._others)
        found: list[Encoded | Output] = []
        while (outcome := others.get(len(found)) or next(singles, None)) is not None:
            found.append(outcome)
        return found


class ListedResults(list[Any]):
    """Outcomes of messages, one by one."""

    def so_far(self) -> Sequence[Any]:
        """Return what is there while another thread appends."""
        return self[:]
