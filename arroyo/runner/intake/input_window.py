"""`InputWindow`: what a listener sees of the chain, and where its threads wait when it is full.

The listener's threads put messages in, the main thread takes them out and sends them. A message
counts against the window from the moment it is put in until every sink has finished it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from arroyo.codec import DETACH_BYTES, HEAD_BYTES, Body, Kind, MessageCodec
from arroyo.config.graph import Stage
from arroyo.errors import EncodeError, StageError
from arroyo.messages import Event, Message, Start, Stop
from arroyo.protocol.sending.dispatcher import BATCH_MESSAGES
from arroyo.protocol.source.input import InputBatch
from arroyo.runner.user_code.calls import key_of

from .handed_runs import HandedRuns
from .input_batch import BATCH_BYTES, Counts, HandedBatch, HandedRun

ROOMY = 8
"""A listener that found the window full may go on when one part in so many of it is free."""


class InputWindow:
    """Takes messages from a listener, and gives them on in batches.

    Parameters
    ----------
    stage
        The listener's stage, with its window.
    codec
        Encodes messages when they are handed over, which is when a listener can be told.
    key_field
        Metadata field that a stage below is dispatched by.
    wake
        Called when the main thread may be asleep and there is something for it.
    counts
        Written when messages are looked at, which is not at each of them.
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
        self._lock = threading.Lock()
        # `with` would look both up for each message.
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._room = threading.Condition(self._lock)
        self._chunks: deque[HandedBatch] = deque()
        self._open: HandedBatch | None = None
        self._messages = self._size = 0
        self._growing: Body | None = None
        """Body that messages may join as long as it is below these limits; see `_count`."""
        self._length_limit = self._bytes_limit = 0
        # With `drop-oldest` half of the window stays in front of the ledger: what is in there
        # can't be dropped any more.
        share = 2 if stage.when_full == "drop-oldest" else 1
        self._ledger_messages = max(1, stage.window // share)
        self._ledger_size = stage.window_bytes // share
        self._packs = key_field is None and stage.when_full != "drop-oldest"
        """Whether messages of a chunk need not be looked at one by one."""
        self._waiting = 0
        self._shut = False
        self.runs = HandedRuns(codec)
        self._wakes_at = 0
        """How many messages in a batch wake the main thread; 0: it is awake."""
        self._taken = self._taken_size = 0
        self._received = self._unseen = 0
        self.counts = counts
        self._received_word = counts.received
        self.dropped = 0
        self.refused = 0
        """Messages that can't travel, which the listener was told."""

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
        self._acquire()
        try:
            # What happens to nearly all: it joins others, and nobody has to do anything about it.
            body = self._growing
            if (
                body is not None
                and body.length < self._length_limit
                and len(body.buffer) < self._bytes_limit
                and token is None
                and self._write(message, body)
            ):
                return
        finally:
            self._release()
        if self._take_up(message, token):
            self._wake()

    def _take_up(self, message: Message, token: Any) -> bool:
        """Take any message up; returns whether the main thread has to be woken."""
        kind = _KINDS.get(type(message))
        if kind is None:
            kind = _kind_of(message)
        try:
            item = self._codec.encode(message)
        except EncodeError:
            with self._lock:
                self.refused += 1
            raise
        size = len(item)
        key = None
        if self._key_field is not None and kind is Kind.EVENTS:
            key = key_of(message, self._key_field)
        with self._lock:
            if not self._fits(size) and not self._make_room(kind, size):
                return False
            self._require_open()
            self._messages += 1
            self._size += size
            if kind is Kind.EVENTS:
                self._received = self._received_word[0] = self._received + 1
            chunk = self._open
            if chunk is None or kind is not Kind.EVENTS:
                chunk = self._begin(kind, message)
            chunk.add(item, size, token, key)
            wake = self._has_to_wake(chunk)
            self._limit_growth()
            return wake

    def _has_to_wake(self, chunk: HandedBatch) -> bool:
        full = chunk.is_full
        if full and chunk is self._open:
            self._open = None
        wake = self._wakes_at > 0 and (
            full or chunk.kind is not Kind.EVENTS or len(chunk.items) >= self._wakes_at
        )
        if wake:
            self._wakes_at = 0
        return wake

    def _limit_growth(self) -> None:
        """Say how far the open body may grow before anybody has to look at it."""
        chunk = self._open
        if chunk is None or chunk.body is None or chunk.tokens:
            self._growing = None
            self._expect(0)
            return
        self._growing = chunk.body
        room = self._stage.window - self._messages
        size = self._stage.window_bytes - 2 * DETACH_BYTES - self._size
        # The message that makes it full, or wakes the main thread, is not one of them.
        self._length_limit = min((self._wakes_at or BATCH_MESSAGES) - 1, chunk.body.length + room)
        self._bytes_limit = HEAD_BYTES + min(BATCH_BYTES - DETACH_BYTES, chunk.size + size)
        # A message has one byte at least.
        most = self._bytes_limit - HEAD_BYTES - chunk.size
        self._expect(max(0, min(self._length_limit - chunk.counted, most)))

    def _expect(self, unseen: int) -> None:
        """Say how many messages may join before anybody looks, at most."""
        if unseen != self._unseen:
            self._unseen = self.counts.unseen[0] = unseen

    def _count(self) -> None:
        """Count what has joined the open body since the last time."""
        chunk = self._open
        if chunk is not None and chunk.body is not None:
            joined = chunk.body.length - chunk.counted
            if joined:
                self._messages += joined
                self._size += chunk.body.size - chunk.size
                chunk.counted, chunk.size = chunk.body.length, chunk.body.size
                self._received = self._received_word[0] = self._received + joined
                self._expect(max(0, self._unseen - joined))

    def _begin(self, kind: Kind, message: Message) -> HandedBatch:
        packs = self._packs and kind is Kind.EVENTS
        chunk = HandedBatch(
            kind, self.runs.note(kind), None if kind is Kind.EVENTS else message, packs=packs
        )
        self._open = chunk if kind is Kind.EVENTS else None
        if kind is not Kind.EVENTS and not self.counts.run_end[0]:
            self.counts.run_end[0] = self._received + 1
        self._chunks.append(chunk)
        return chunk

    def _fits(self, size: int) -> bool:
        self._count()
        if self._messages == 0:
            return True  # or a message larger than the window could never pass
        return self._messages < self._stage.window and self._size + size <= self._stage.window_bytes

    def _make_room(self, kind: Kind, size: int) -> bool:
        """Wait or drop until the message fits; False where it is this one that is dropped."""
        while not self._fits(size):
            self._require_open()
            if kind is Kind.EVENTS and self._stage.when_full != "block":
                if self._stage.when_full == "drop-newest" or not self._drop_oldest():
                    self._count_drop(self.runs.current)
                    return False
                continue
            self._waiting += 1
            self._room.wait()
            self._waiting -= 1
        return True

    def _require_open(self) -> None:
        if self._shut:
            raise StageError("the stage has ended and takes no more messages")

    def _drop_oldest(self) -> bool:
        """Give up the oldest event that has not been sent; False where there is none."""
        # The source may have been given the next run already, and wait to begin it.
        of_open_run = self.counts.run_end[0] > self._taken + 1
        for chunk in self._chunks:
            if chunk.kind is not Kind.EVENTS:
                of_open_run = False
            else:
                self._received = self._received_word[0] = self._received - 1
                if of_open_run and self.counts.run_end[0]:
                    self.counts.run_end[0] -= 1
                self._messages -= 1
                self._size -= chunk.drop_first()
                self._count_drop(chunk.run)
                if not chunk.items:
                    self._chunks.remove(chunk)
                    self._open = None if chunk is self._open else self._open
                return True
        return False

    def _count_drop(self, run: HandedRun) -> None:
        self.dropped += 1
        run.dropped += 1

    # The main thread

    @property
    def waiting(self) -> int:
        """How many events were handed over and not taken yet."""
        return self.received - self._taken

    @property
    def received(self) -> int:
        """How many events were handed over, those left out that were dropped."""
        with self._lock:
            self._count()
            return self._received

    def take(self, *, whole: bool = False) -> InputBatch | None:
        """Return what may be sent next: a batch of events, or a Start or Stop; None if nothing.

        `whole`: leave a batch alone that more messages can still join.
        """
        with self._lock:
            if whole and self._chunks and self._chunks[0] is self._open:
                return None
            self._count()
            count = self._sendable()
            return self._intake(self._pop(count)) if count else None

    def look_for_end(self) -> None:
        """The source has opened a run: find out whether the listener has ended that already."""
        with self._lock:
            count = self._taken
            for chunk in self._chunks:
                if chunk.kind is not Kind.EVENTS:
                    self.counts.run_end[0] = count + 1
                    return
                count += len(chunk.items)
            self.counts.run_end[0] = 0

    def _sendable(self) -> int:
        """How many messages of the first chunk may be sent."""
        if not self._chunks:
            return 0
        items = self._chunks[0].items
        if self._stage.when_full != "drop-oldest":
            return len(items)
        sent = self._messages - sum(len(chunk.items) for chunk in self._chunks)
        size = self._size - sum(chunk.size for chunk in self._chunks)
        count = 0
        for item in items:
            if sent and (sent >= self._ledger_messages or size >= self._ledger_size):
                break
            sent, size, count = sent + 1, size + len(item), count + 1
        return count

    def _pop(self, count: int) -> HandedBatch:
        chunk = self._chunks.popleft()
        if chunk is self._open:
            self._open = self._growing = None
            self._expect(0)
        if len(chunk.items) > count:
            chunk, rest = chunk.split(count)
            self._chunks.appendleft(rest)
        return chunk

    def _intake(self, chunk: HandedBatch) -> InputBatch:
        if chunk.kind is Kind.EVENTS:
            self._taken += len(chunk.items)
            self._taken_size += chunk.size
        return self.runs.take(chunk)

    @property
    def bytes_in(self) -> int:
        """Bytes of these."""
        with self._lock:
            self._count()
            return self._taken_size + sum(chunk.size for chunk in self._chunks)

    def fall_asleep(self, *, whole: bool = False) -> bool:
        """Announce a wait; False where something has come meanwhile, so don't.

        `whole`: to be woken by a full batch only, see `take`.
        """
        with self._lock:
            waits = (whole and self._chunks and self._chunks[0] is self._open) or (
                not self._sendable()
            )
            self._wakes_at = (BATCH_MESSAGES if whole else 1) if waits else 0
            self._count()
            self._limit_growth()
            return bool(waits)

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._chunks

    def release(self, messages: int, size: int) -> None:
        """Let new messages in for those that are finished.

        A listener that waits is let in only when there is room for many: let in one by one, its
        messages would travel one by one.
        """
        with self._lock:
            # A Stop that the source made itself is released as well, but nobody handed it over.
            self._count()
            self._messages = max(0, self._messages - messages)
            self._size = max(0, self._size - size)
            if self._waiting and self._is_roomy():
                self._room.notify_all()

    def _is_roomy(self) -> bool:
        window, size = self._stage.window, self._stage.window_bytes
        return self._messages <= window - max(1, window // ROOMY) and self._size <= size - (
            size // ROOMY
        )

    def shut(self) -> None:
        """Refuse whatever else a listener may want to hand over."""
        with self._lock:
            self._shut = True
            self._growing = None
            self._room.notify_all()


_KINDS: dict[type[Message], Kind] = {Start: Kind.START, Event: Kind.EVENTS, Stop: Kind.STOP}


def _kind_of(message: Message) -> Kind:
    if isinstance(message, Start):
        return Kind.START
    return Kind.STOP if isinstance(message, Stop) else Kind.EVENTS
