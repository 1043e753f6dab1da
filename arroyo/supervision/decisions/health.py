"""Health of a living process: well, held up, stopped or hung. PURE.

The supervisor samples each process several times a second, and compares. Rules:

- A stage is hung when one and the same message, or one `flush()` or `set_parameters()`, has been in
  hand for the whole of its ``process_timeout_s``. A stage that says that it waits, for messages,
  for the stages below or for the outside world, is not hung, however long it waits.
- A stage is hung when its ``close()`` takes longer than its ``process_timeout_s``, or when closing
  its links or leaving takes longer than `CLOSING_LIMIT_S`; two seconds are usual.
- Durations are between our own samples, by our own monotonic clock. If samples came late (a
  suspended machine, swap, a stopped supervisor), all durations start again at 0.
- A stage that has more memory of its own than its ``memory_max_bytes`` is too large, whatever it
  frees afterwards.
- A process that is stopped, by a signal or in a debugger, is not hung.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from arroyo.telemetry.status_words import Phase

LATE_S = 2.0
"""Samples further apart than this prove nothing about the time between them."""
HELD_UP_AFTER_S = 10.0
"""A stage that has waited this long for others is held up."""
WAITING_HOLDS_S = 3.0
"""How long a stage is believed that has said that it waits."""
CLOSING_LIMIT_S = 10.0
"""Upper bound for our own shutdown work after ``close()``, in seconds."""
STOPPED_LIMIT_S = 60.0
"""A process that has been stopped by a signal for this long was forgotten, and is replaced."""
OUTSIDE = "the outside world"
BELOW = "the stages below, which have no room"
"""What a stage is held up by."""


class Condition(StrEnum):
    """Condition of a living process."""

    WELL = "well"
    HELD_UP = "held up"
    """It waits for the stages below, or for the outside world."""
    STOPPED = "stopped"
    """By a signal (SIGSTOP)."""
    TRACED = "in a debugger"
    UNINTERRUPTIBLE = "waiting for a disk"
    """Within the kernel, where no signal reaches it; a dead file server does that."""
    HUNG = "hung"
    FORGOTTEN = "stopped for too long"
    TOO_LARGE = "above its limit of memory"


class Sample(NamedTuple):
    """A process at one moment."""

    process_state: str
    """Letter in ``/proc/PID/stat``: R, S, D, T (stopped), t (in a debugger)."""
    page: Mapping[str, int]
    """Words of its status page; empty before it has one."""
    memory_bytes: int = 0
    """Memory of its own: what it shares with others, such as payloads, does not count."""


class Health(NamedTuple):
    """Condition of a process, for how long so far (in s), and where it hangs, or what holds it up.

    `memory_bytes`: how much it had, if it is too large.
    """

    condition: Condition
    for_s: float = 0.0
    place: str = ""
    memory_bytes: int = 0


WELL = Health(Condition.WELL)


class HealthCheck:
    """Compares the samples of one process.

    `process_timeout_s`: how long it may have one message in hand, in s. 0: without limit, and
    without one for being stopped or closing links either.
    `memory_max_bytes`: how much memory it may have. None: without limit.
    """

    def __init__(self, process_timeout_s: float, memory_max_bytes: int | None = None) -> None:
        self.process_timeout_s = process_timeout_s
        self.memory_max_bytes = memory_max_bytes
        self._too_large: Health | None = None
        self._state = _Duration()
        self._hand = _Duration()
        self._blocked = _Duration()
        self._waits = _Duration()
        self._sampled_at: float | None = None

    def sample(self, sample: Sample, now: float) -> Health:
        """Take a sample of time `now`, in s (monotonic); return the health of the process."""
        if self._sampled_at is not None and now - self._sampled_at >= LATE_S:
            self._start_again(now)
        self._sampled_at = now
        if (too_large := self._judge_memory(sample.memory_bytes)) is not None:
            return too_large
        in_state_s = self._state.note(sample.process_state, now)
        hand = _hand(sample.page)
        in_hand_s = self._hand.note(hand, now)
        held_up_s, by = self._held_up(sample.page, now)
        if sample.process_state in {"T", "t"}:
            self._start_again(now, but_state=True)
            return self._stopped_health(sample.process_state, in_state_s)
        if sample.process_state == "D":
            # Killing it would have no effect, and the message is not to blame for a slow disk.
            is_long = in_state_s >= HELD_UP_AFTER_S
            return Health(Condition.UNINTERRUPTIBLE, in_state_s) if is_long else WELL
        if hand and 0 < self._limit_s(hand) <= in_hand_s:
            return Health(Condition.HUNG, in_hand_s, hand.place)
        if held_up_s >= HELD_UP_AFTER_S:
            return Health(Condition.HELD_UP, held_up_s, by)
        return WELL

    def _judge_memory(self, memory_bytes: int) -> Health | None:
        limit = self.memory_max_bytes
        if self._too_large is None and limit is not None and memory_bytes > limit:
            self._too_large = Health(Condition.TOO_LARGE, memory_bytes=memory_bytes)
        return self._too_large

    def _limit_s(self, hand: _Hand) -> float:
        closes = hand.place in {_CLOSING, _LEAVING} and self.process_timeout_s > 0
        return CLOSING_LIMIT_S if closes else self.process_timeout_s

    def _stopped_health(self, process_state: str, for_s: float) -> Health:
        if process_state == "t":
            return Health(Condition.TRACED, for_s)
        too_long = self.process_timeout_s > 0 and for_s >= STOPPED_LIMIT_S
        return Health(Condition.FORGOTTEN if too_long else Condition.STOPPED, for_s)

    def _held_up(self, page: Mapping[str, int], now: float) -> tuple[float, str]:
        """How long it has been waiting for others, and for whom; 0 if it is not."""
        said_s = self._waits.note(page.get("waits", 0), now)
        says_so = page.get("waits", 0) > 0 and said_s <= WAITING_HOLDS_S
        blocked = page.get("phase") == Phase.BLOCKED
        why = "outside" if says_so else ("below", page["phase_since_ns"]) if blocked else None
        for_s = self._blocked.note(why, now)
        return (0.0, "") if why is None else (for_s, OUTSIDE if says_so else BELOW)

    def _start_again(self, now: float, but_state: bool = False) -> None:
        """Measure all durations from now on."""
        durations = [self._hand, self._blocked, self._waits]
        for duration in durations if but_state else [*durations, self._state]:
            duration.start_again(now)


class _Duration:
    """How long a value has been the same."""

    def __init__(self) -> None:
        self._value: Any = None
        self._since = 0.0

    def note(self, value: Any, now: float) -> float:
        """Take the present value; return how long it has been that, in s."""
        if value != self._value:
            self._value, self._since = value, now
        return now - self._since

    def start_again(self, now: float) -> None:
        """Measure from now on."""
        self._since = now


class _Hand(NamedTuple):
    """Work that can hang, with the words that tell it from the same work at another time."""

    place: str
    words: tuple[int, ...]


_CLOSING = "closing its links"
_LEAVING = "leaving"
_PLACES: Mapping[int | None, str] = {
    Phase.FLUSH: "flush()",
    Phase.PARAMETERS: "set_parameters()",
    Phase.DRAIN: "close()",
    Phase.CLOSED: _CLOSING,
    Phase.ENDED: _LEAVING,
}
"""What a stage may hang in beside a message, by its phase."""
_MESSAGE = "hand_source", "hand_epoch", "hand_sequence", "hand_part"


def _hand(page: Mapping[str, int]) -> _Hand | None:
    """Return the work in hand; None where there is none that can hang.

    `waits` is part of it: a stage that has just said that it waits is not hung.
    """
    since = "phase_since_ns", "waits"
    phase = page.get("phase")
    if phase == Phase.PROCESS and page["hand_source"]:
        return _Hand("process()", tuple(page[word] for word in (*since, *_MESSAGE)))
    if phase in _PLACES:
        return _Hand(_PLACES[phase], tuple(page[word] for word in since))
    return None
