"""`Gateway`: what a listener sees of the chain, and where its threads wait when it is full.

The listener's threads put messages in, the main thread takes them out and sends them. A message
counts against the window from the moment it is put in until every sink has finished it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from arroyo.codec import Encoded, Kind
from arroyo.config.graph import Stage
from arroyo.errors import StageError
from arroyo.messages import Message, Start, Stop
from arroyo.protocol.outlets import BATCH_MESSAGES
from arroyo.protocol.source import Intake

from .calls import key_of

BATCH_BYTES = 1024 * 1024
"""A batch takes no further message once it holds so much."""


class Gateway:
    """Takes messages from a listener, and gives them on in batches.

    Parameters
    ----------
    stage
        The listener's stage, with its window.
    encode
        Encodes messages when they are handed over, which is when a listener can be told.
    key_field
        Metadata field that a stage below is dispatched by.
    wake
        Called when the main thread may be asleep and there is something for it.
    """

    def __init__(
        self,
        stage: Stage,
        encode: Callable[[Message], Encoded],
        key_field: str | None,
        wake: Callable[[], None],
    ) -> None:
        self._stage = stage
        self._encode = encode
        self._key_field = key_field
        self._wake = wake
        self._room = threading.Condition()
        self._pending: deque[_Entry] = deque()
        self._messages = self._size = 0
        self._pending_size = 0
        # With `drop-oldest` half of the window stays in front of the ledger: what is in there
        # can't be dropped any more.
        share = 2 if stage.when_full == "drop-oldest" else 1
        self._ledger_messages = max(1, stage.window // share)
        self._ledger_size = stage.window_bytes // share
        self._waiting = 0
        self._shut = False
        self._run = _Run()
        self._open_runs: deque[_Run] = deque()
        self.asleep = False
        """Whether the main thread waits; it sets this before it looks for the last time."""
        self.received = 0
        self.bytes_in = 0
        self.dropped = 0

    # The listener's threads

    def process(self, message: Message, token: Any = None) -> None:
        """Take a message up; waits while the window is full.

        Raises
        ------
        EncodeError
            The message can't travel; nothing of it was sent.
        StageError
            The stage has ended.
        """
        kind = _kind_of(message)
        encoded = self._encode(message)
        key = 0
        if self._key_field is not None and kind is Kind.EVENTS:
            key = key_of(message, self._key_field)
        entry = _Entry(kind, encoded, len(encoded), token, key, message, self._run)
        with self._room:
            if not self._admit(entry):
                return
            if kind is Kind.START:
                self._run = _Run(implicit=False)
            entry.run = self._run
            if kind is Kind.STOP:
                self._run = _Run()
            self._pending.append(entry)
            self._pending_size += entry.size
            self.received += kind is Kind.EVENTS
            self.bytes_in += entry.size
            asleep, self.asleep = self.asleep, False
        if asleep:
            self._wake()

    def _admit(self, entry: _Entry) -> bool:
        while not self._fits(entry.size):
            if self._shut:
                raise StageError("the stage has ended and takes no more messages")
            if entry.kind is Kind.EVENTS and self._stage.when_full != "block":
                if self._stage.when_full == "drop-newest" or not self._drop_oldest():
                    self._count_drop(self._run)
                    return False
                continue
            self._waiting += 1
            self._room.wait()
            self._waiting -= 1
        self._messages += 1
        self._size += entry.size
        return True

    def _fits(self, size: int) -> bool:
        if self._messages == 0:
            return True  # or a message larger than the window could never pass
        return self._messages < self._stage.window and self._size + size <= self._stage.window_bytes

    def _drop_oldest(self) -> bool:
        """Give up the oldest event that has not been sent; False where there is none."""
        for index, entry in enumerate(self._pending):
            if entry.kind is Kind.EVENTS:
                del self._pending[index]
                self._pending_size -= entry.size
                self._messages -= 1
                self._size -= entry.size
                self._count_drop(entry.run)
                return True
        return False

    def _count_drop(self, run: _Run) -> None:
        self.dropped += 1
        run.dropped += 1

    # The main thread

    def take(self) -> Intake | None:
        """Return what may be sent next: a batch of events, or a Start or Stop; None if nothing."""
        with self._room:
            if not self._may_take():
                return None
            first = self._pop()
            if first.kind is not Kind.EVENTS:
                return self._control(first)
            if not self._open_runs:
                self._open_runs.append(first.run)
            entries, size = [first], first.size
            while (
                len(entries) < BATCH_MESSAGES
                and size < BATCH_BYTES
                and self._may_take()
                and self._pending[0].kind is Kind.EVENTS
            ):
                entry = self._pop()
                entries.append(entry)
                size += entry.size
        keys = None if self._key_field is None else [entry.key for entry in entries]
        return Intake(
            Kind.EVENTS,
            [entry.encoded for entry in entries],
            [entry.token for entry in entries],
            size,
            keys,
        )

    def _may_take(self) -> bool:
        if not self._pending:
            return False
        messages = self._messages - len(self._pending)
        size = self._size - self._pending_size
        return messages == 0 or (messages < self._ledger_messages and size < self._ledger_size)

    def _pop(self) -> _Entry:
        entry = self._pending.popleft()
        self._pending_size -= entry.size
        return entry

    def fall_asleep(self) -> bool:
        """Announce a wait; False where something has come meanwhile, so don't."""
        with self._room:
            self.asleep = not self._may_take()
            return self.asleep

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._pending

    def release(self, messages: int, size: int) -> None:
        """Let new messages in for those that are finished."""
        with self._room:
            # A Stop that the source made itself is released as well, but nobody handed it over.
            self._messages = max(0, self._messages - messages)
            self._size = max(0, self._size - size)
            if self._waiting:
                self._room.notify_all()

    def shut(self) -> None:
        """Refuse whatever else a listener may want to hand over."""
        with self._room:
            self._shut = True
            self._room.notify_all()

    def _control(self, entry: _Entry) -> Intake:
        if entry.kind is Kind.START:
            if self._open_runs and self._open_runs[-1].implicit:
                self._open_runs.pop()  # it ends without a Stop
            self._open_runs.append(entry.run)
            return Intake(Kind.START, [entry.encoded], [entry.token], entry.size)
        if self._open_runs:
            self._open_runs.pop()
        stop, run = entry.message, entry.run
        return Intake(
            Kind.STOP,
            tokens=[entry.token],
            size=entry.size,
            make_stop=lambda totals: self._encode_stop(stop, run, totals),
        )

    def early_stop(self, reason: str, totals: dict[str, Any]) -> Encoded:
        """Encode the Stop of the oldest open run, which its listener has not closed."""
        return self._encode_stop(Stop({"reason": reason}), self._open_runs.popleft(), totals)

    def _encode_stop(self, stop: Message, run: _Run, totals: dict[str, Any]) -> Encoded:
        totals["dropped"] = run.dropped
        totals["complete"] = totals["complete"] and not (run.dropped or totals["lost"])
        data = {**getattr(stop, "data", {}), "totals": totals}
        return self._encode(msgspec.structs.replace(stop, data=data))


@dataclass(slots=True)
class _Run:
    """What was dropped of one run, counted where messages come in and told where they leave."""

    implicit: bool = True
    dropped: int = 0


@dataclass(slots=True)
class _Entry:
    kind: Kind
    encoded: Encoded
    size: int
    token: Any
    key: int
    message: Any
    run: _Run


def _kind_of(message: Message) -> Kind:
    if isinstance(message, Start):
        return Kind.START
    return Kind.STOP if isinstance(message, Stop) else Kind.EVENTS
