"""`History`: the last transitions of one state machine, for people who look inside it. PURE.

Every part of a machine notes in the same history what it did, a batch at a time; nothing is noted
for each message. A note is a tuple in a ring of fixed size. The words are put together when
somebody reads them: after a crash, on request, or when a test fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

TRANSITIONS = 512
"""So many are kept; older ones go."""


def in_seconds(time_s: float) -> str:
    """Write a time of the machine's clock."""
    return f"{time_s:.3f} s"


class History:
    """A bounded list of what happened, the oldest first.

    `now`: the time until the machine learns a later one, in s.
    """

    __slots__ = ("_notes", "now")

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        """Time of what is noted next; set by whichever call of the machine is told the time."""
        self._notes: deque[tuple[float, str, tuple[Any, ...]]] = deque(maxlen=TRANSITIONS)

    def note(self, words: str, *values: Any) -> None:
        """Keep a transition.

        Parameters
        ----------
        words
            A text with places for `values`, as `str.format` takes it.
        values
            Numbers, names and the like: they are kept for long, so nothing that is large or may
            still change.
        """
        self._notes.append((self.now, words, values))

    def __len__(self) -> int:
        return len(self._notes)

    def lines(self, stamp: Callable[[float], str] = in_seconds) -> list[str]:
        """Return one readable line for each transition; `stamp` writes its time.

        May be called from another thread than that of the machine.
        """
        notes = self._notes.copy()
        return [f"{stamp(now)}  {words.format(*values)}" for now, words, values in notes]
