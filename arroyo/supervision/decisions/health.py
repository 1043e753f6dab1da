"""How a process that lives is doing: at work, held up, stopped, hung. PURE.

Nobody tells the supervisor: it looks at the process several times a second, and compares. Rules:

- Only a stage that has had one and the same message in hand for the whole of its
  ``process_timeout_s`` is hung, or has been in one `flush()` for so long. One that waits, for
  messages, for those below, or for the outside world, and says so, is not, however long.
- One whose ``close()`` takes longer than its ``process_timeout_s`` is hung as well, and one that
  can't close its links, or leave, which takes two seconds at most.
- Times are between our own looks, by our own monotonic clock. If the looks themselves came late
  (a suspended machine, swap, a stopped supervisor), all times begin anew.
- A process that is stopped, by a signal or in a debugger, can't be blamed for standing still.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from arroyo.telemetry.status_words import Phase

LATE_S = 2.0
"""Looks further apart than this prove nothing of what was between them."""
HELD_UP_AFTER_S = 10.0
"""A stage that has waited so long for others is held up."""
WAITING_HOLDS_S = 3.0
"""A stage that says it waits is believed for so long."""
CLOSING_LIMIT_S = 10.0
"""Upper bound for our own shutdown work after ``close()``, in seconds."""
STOPPED_LIMIT_S = 60.0
"""A process stopped by a signal for so long is taken for forgotten, and replaced."""


class Condition(StrEnum):
    """How a living process is doing."""

    WELL = "well"
    HELD_UP = "held up"
    """It waits for those below, or for the outside world."""
    STOPPED = "stopped"
    """By a signal (SIGSTOP)."""
    TRACED = "in a debugger"
    UNINTERRUPTIBLE = "waiting for a disk"
    """Within the kernel, where no signal reaches it; a dead file server does that."""
    HUNG = "hung"
    FORGOTTEN = "stopped for too long"


class Look(NamedTuple):
    """What is seen of a process at one moment."""

    process_state: str
    """Letter in ``/proc/PID/stat``: R, S, D, T (stopped), t (in a debugger)."""
    page: Mapping[str, int]
    """Words of its status page; empty before it has one."""


class Verdict(NamedTuple):
    """How it is doing, and for how long so far, in s; and where it hangs, if it does."""

    condition: Condition
    for_s: float = 0.0
    place: str = ""


WELL = Verdict(Condition.WELL)


class HealthCheck:
    """Judges one process.

    Parameters
    ----------
    process_timeout_s
        How long it may have one message in hand, in s; 0: as long as it likes, and then it may
        be stopped, or close its links, as long as anybody likes, too.
    """

    def __init__(self, process_timeout_s: float) -> None:
        self._timeout_s = process_timeout_s
        self._process = _Spell()
        self._hand = _Spell()
        self._blocked = _Spell()
        self._waits = _Spell()
        self._looked_at: float | None = None

    def see(self, look: Look, now: float) -> Verdict:
        """Take a look that was made at `now`, in s (monotonic)."""
        if self._looked_at is not None and now - self._looked_at >= LATE_S:
            self._excuse(now)
        self._looked_at = now
        in_state_s = self._process.note(look.process_state, now)
        hand = _hand(look.page)
        in_hand_s = self._hand.note(hand, now)
        held_up_s = self._held_up_s(look.page, now)
        if look.process_state in {"T", "t"}:
            self._excuse(now, but_process=True)
            return self._judge_stopped(look.process_state, in_state_s)
        if look.process_state == "D":
            # To kill it would be in vain, and what it waits for is not the message's fault.
            is_long = in_state_s >= HELD_UP_AFTER_S
            return Verdict(Condition.UNINTERRUPTIBLE, in_state_s) if is_long else WELL
        if hand and 0 < self._limit_s(hand) <= in_hand_s:
            return Verdict(Condition.HUNG, in_hand_s, hand.place)
        if held_up_s >= HELD_UP_AFTER_S:
            return Verdict(Condition.HELD_UP, held_up_s)
        return WELL

    def _limit_s(self, hand: _Hand) -> float:
        closes = hand.place in {_CLOSING, _LEAVING} and self._timeout_s > 0
        return CLOSING_LIMIT_S if closes else self._timeout_s

    def _judge_stopped(self, process_state: str, for_s: float) -> Verdict:
        if process_state == "t":
            return Verdict(Condition.TRACED, for_s)
        too_long = self._timeout_s > 0 and for_s >= STOPPED_LIMIT_S
        return Verdict(Condition.FORGOTTEN if too_long else Condition.STOPPED, for_s)

    def _held_up_s(self, page: Mapping[str, int], now: float) -> float:
        """For how long it has been waiting for others; 0 if it does not."""
        said_s = self._waits.note(page.get("waits", 0), now)
        says_so = page.get("waits", 0) > 0 and said_s <= WAITING_HOLDS_S
        blocked = page.get("phase") == Phase.BLOCKED
        why = "outside" if says_so else ("below", page["phase_since_ns"]) if blocked else None
        for_s = self._blocked.note(why, now)
        return 0.0 if why is None else for_s

    def _excuse(self, now: float, but_process: bool = False) -> None:
        """Begin all times anew."""
        spells = [self._hand, self._blocked, self._waits]
        for spell in spells if but_process else [*spells, self._process]:
            spell.begin(now)


class _Spell:
    """For how long something has been the same."""

    def __init__(self) -> None:
        self._value: Any = None
        self._since = 0.0

    def note(self, value: Any, now: float) -> float:
        """Take what it is now; return for how long it has been that, in s."""
        if value != self._value:
            self._value, self._since = value, now
        return now - self._since

    def begin(self, now: float) -> None:
        """Count from now on, whatever it was."""
        self._since = now


class _Hand(NamedTuple):
    """What a process is at, and what tells that from the same at another time."""

    place: str
    words: tuple[int, ...]


_CLOSING = "closing its links"
_LEAVING = "leaving"
_MESSAGE = "hand_source", "hand_epoch", "hand_sequence", "hand_part"


def _hand(page: Mapping[str, int]) -> _Hand | None:
    """Return what is in hand that can hang; None: nothing.

    `waits` is part of it: who has just said that it waits is as good as new.
    """
    since = "phase_since_ns", "waits"
    match page.get("phase"):
        case Phase.PROCESS if page["hand_source"]:
            return _Hand("process()", tuple(page[word] for word in (*since, *_MESSAGE)))
        case Phase.FLUSH:
            return _Hand("flush()", tuple(page[word] for word in since))
        case Phase.DRAIN:
            return _Hand("close()", tuple(page[word] for word in since))
        case Phase.CLOSED:
            return _Hand(_CLOSING, tuple(page[word] for word in since))
        case Phase.ENDED:
            return _Hand(_LEAVING, tuple(page[word] for word in since))
    return None
