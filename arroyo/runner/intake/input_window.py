"""`InputWindow`: what a listener sees of the chain, and where its threads wait when it is full.

The listener's threads put messages in, the main thread takes them out and sends them. A message
counts against the window from the moment it is put in until every sink has finished it.

Rules:
- Whatever is seldom done, is done under a lock: in `WindowLock`.
- Nearly all messages only join others, and for them a lock would cost more than the joining. The
  body that they join lies in a list of one, out of which it is taken by whoever writes into it or
  looks at it, and only `pop` decides who that is. Under the lock it is always out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arroyo.codec import DETACH_BYTES, HEAD_BYTES, Encoded, Kind, MessageCodec
from arroyo.config.graph import Stage
from arroyo.errors import EncodeError, StageError
from arroyo.messages import Message
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.values.flow_limits import BATCH_MESSAGES
from arroyo.runner.user_code.dispatch_key import key_of

from .waiting_batches import WaitingBatches
from .window_batch import BATCH_BYTES, WindowBatch, WindowRun, kind_of
from .window_counts import Counts
from .window_lock import WindowLock
from .window_room import WindowRoom
from .window_runs import WindowRuns


class InputWindow:
    """Takes messages from a listener, and gives them on in batches.

    `codec`: encodes messages when they are handed over, which is when a listener can be told.
    `wake`: called when the main thread may be asleep and there is something for it.
    `counts`: written when messages are looked at, which is not at each of them.
    """

    def __init__(
        self,
        stage: Stage,
        codec: MessageCodec,
        key_field: str | None,
        wake: Callable[[], None],
        counts: Counts,
    ) -> None:
        self._stage = stage
        self._codec = codec
        self._write = codec.write
        self._key_field = key_field
        self._wake = wake
        self._lock = WindowLock()
        self._batches = WaitingBatches()
        self.room = WindowRoom(stage)
        self._slot = self._lock.slot
        """Has the body that messages may join while it is below these limits; see `_count`."""
        self._tokens: list[Any] = []
        self._joins_tokens = False
        """The tokens of its messages, and whether all that join have to have one, or none may."""
        self._length_limit = self._bytes_limit = 0
        self._packs = key_field is None and stage.when_full != "drop-oldest"
        """Whether messages of a batch need not be looked at one by one."""
        self._shut = False
        self.runs = WindowRuns(codec)
        self._wakes_at = 0
        """How many messages in a batch wake the main thread; 0: it is awake."""
        self.counts = counts
        self.dropped = 0
        self.refused = 0
        """Messages that can't travel, which the listener was told."""

    # The listener's threads

    def process(self, message: Message, token: Any = None) -> None:
        """Take a message up; waits while the window is full.

        EncodeError: the message can't travel; nothing of it was sent.
        StageError: the stage has ended.
        """
        try:
            # What happens to nearly all: it joins others, and nobody has to do anything about it.
            body = self._slot.pop()
        except IndexError:
            pass  # there is none, or it is another thread's at the moment
        else:
            try:
                end = len(body.buffer)
                if (
                    body.length < self._length_limit
                    and end < self._bytes_limit
                    and (token is not None) is self._joins_tokens
                    and self._write(message, body, end)
                ):
                    if token is not None:
                        self._tokens.append(token)
                    return
            finally:
                self._slot.append(body)
        if self._take_up(message, token):
            self._wake()

    def _take_up(self, message: Message, token: Any) -> bool:
        """Take any message up; returns whether the main thread has to be woken."""
        kind = kind_of(message)
        key = None
        try:
            # What is no message at all is refused behind this.
            if self._key_field and kind is Kind.EVENTS and isinstance(message, Message):
                key = key_of(message, self._key_field)
            item = self._codec.encode(message)  # last: it may fill a slab
        except EncodeError:
            with self._lock:
                self.refused += 1
            raise
        size = len(item)
        with self._lock:
            if not self._make_room(kind, size):
                self._count_drop(self.runs.current, item)
                return False
            self._require_open()
            self.room.add(1, size)
            if kind is Kind.EVENTS:
                self.counts.add(1)
            batch = self._batches.open
            if batch is None or kind is not Kind.EVENTS:
                batch = self._begin(kind, message)
            batch.add(item, size, token, key)
            wake = self._has_to_wake(batch)
            self._limit_growth()
            return wake

    def _has_to_wake(self, batch: WindowBatch) -> bool:
        full = batch.is_full
        if full and batch is self._batches.open:
            self._batches.open = None
        wake = self._wakes_at > 0 and (
            full or batch.kind is not Kind.EVENTS or len(batch.items) >= self._wakes_at
        )
        if wake:
            self._wakes_at = 0
        return wake

    def _limit_growth(self) -> None:
        """Say how far the open body may grow before anybody has to look at it."""
        batch = self._batches.open
        if batch is None or batch.body is None:
            self._lock.growing = None
            self.counts.expect(0)
            return
        self._lock.growing, self._tokens = batch.body, batch.tokens
        self._joins_tokens = bool(batch.tokens)
        room, free = self.room.left
        # The message that makes it full, or wakes the main thread, is not one of them.
        self._length_limit = min((self._wakes_at or BATCH_MESSAGES) - 1, batch.body.length + room)
        size = min(BATCH_BYTES - DETACH_BYTES, batch.size + free - 2 * DETACH_BYTES)
        self._bytes_limit = HEAD_BYTES + size
        # A message has one byte at least.
        self.counts.expect(max(0, min(self._length_limit - batch.counted, size - batch.size)))

    def _count(self) -> None:
        """Count what has joined the open body since the last time."""
        batch = self._batches.open
        if batch is not None and batch.body is not None:
            joined = batch.body.length - batch.counted
            if joined:
                self.room.add(joined, batch.body.size - batch.size)
                batch.counted, batch.size = batch.body.length, batch.body.size
                self.counts.see(joined)

    def _begin(self, kind: Kind, message: Message) -> WindowBatch:
        run = self.runs.note(kind)
        if kind is Kind.EVENTS:
            return self._batches.begin(WindowBatch(kind, run, None, packs=self._packs))
        self.counts.end_run()
        return self._batches.begin(WindowBatch(kind, run, message))

    def _make_room(self, kind: Kind, size: int) -> bool:
        """Wait or drop until the message fits; False where it is this one that is dropped."""
        self._count()
        while not self.room.fits(size):
            self._require_open()
            if kind is Kind.EVENTS and self._stage.when_full != "block":
                if self._stage.when_full == "drop-newest" or not self._drop_oldest():
                    return False
            else:
                if self._batches.close_frames() and self._wakes_at:
                    self._wakes_at = 0
                    self._wake()
                self._lock.wait()
            self._count()
        return True

    def _require_open(self) -> None:
        if self._shut:
            raise StageError("the stage has ended and takes no more messages")

    def _drop_oldest(self) -> bool:
        """Give up the oldest event that has not been sent; False where there is none."""
        dropped = self._batches.drop_oldest()
        if dropped is None:
            return False
        self.counts.drop(taken=self._batches.taken, of_first_run=dropped.is_first)
        self.room.release(1, len(dropped.item))
        self._count_drop(dropped.run, dropped.item)
        return True

    def _count_drop(self, run: WindowRun, item: Encoded) -> None:
        self.dropped += 1
        run.dropped += 1
        self._codec.give_back((item,))

    # The main thread

    @property
    def waiting(self) -> int:
        """How many events were handed over and not taken yet."""
        return self.received - self._batches.taken

    @property
    def received(self) -> int:
        """How many events were handed over, those left out that were dropped."""
        with self._lock:
            self._count()
            return self.counts.events

    def take(self, *, whole: bool = False) -> InputBatch | None:
        """Return what may be sent next: a batch of events, or a Start or Stop; None if nothing.

        `whole`: leave a batch alone that more messages can still join.
        """
        with self._lock:
            self._count()
            joinable = self._batches.first_is_open
            count = 0 if whole and joinable else self.room.sendable(self._batches)
            if not count:
                return None
            batch = self._batches.pop(count)
            if joinable:
                self._limit_growth()
            return self.runs.take(batch)

    def look_for_end(self) -> None:
        """The source has opened a run: find out whether the listener has ended that already."""
        with self._lock:
            events = self._batches.events_of_first_run
            self.counts.run_end[0] = 0 if events is None else self._batches.taken + events + 1

    @property
    def bytes_in(self) -> int:
        """Bytes of these."""
        with self._lock:
            self._count()
            return self._batches.bytes_in

    def fall_asleep(self, *, whole: bool = False) -> bool:
        """Announce a wait; False where something has come meanwhile. `whole` as in `take`."""
        with self._lock:
            sendable = self.room.sendable(self._batches)
            waits = not sendable or (whole and self._batches.first_is_open)
            self._wakes_at = (BATCH_MESSAGES if whole else 1) if waits else 0
            self._count()
            self._limit_growth()
            return waits

    @property
    def is_full(self) -> bool:
        """Whether a listener waits for room."""
        return self._lock.waiting > 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._batches

    def release(self, messages: int, size: int) -> None:
        """Let new messages in for those that are finished.

        A listener that waits is let in only when there is room for many: let in one by one, its
        messages would travel one by one.
        """
        with self._lock:
            self._count()
            self.room.release(messages, size)
            if self._lock.waiting and self.room.is_roomy:
                self._lock.notify_all()

    def shut(self) -> None:
        """Refuse whatever else a listener may want to hand over."""
        with self._lock:
            self._shut = True
            self._lock.growing = None
            self._lock.notify_all()
