"""`Tap`: copies a message now and then for a command that looks at this replica.

What passes is what the replica sends to the stages below; of a publisher, what comes to it. Rules:

- While nobody looks, there is no work for a message or a batch: a file is looked for as often as
  the status page is written.
- While somebody does, a replica copies at most SAMPLES_PER_S messages and BYTES_PER_S bytes a
  second, whatever it is asked for, and waits for nobody.
- A message is copied before it leaves: after that its payload in shared memory may be gone.
- A tap that fails is over; the chain takes no notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from arroyo.clock import Clock
from arroyo.codec import Batch, Body, Buffer, Detached, Kind, Shared, encode_record, split
from arroyo.config.graph import Stage
from arroyo.config.schema import Link
from arroyo.control.tap_file import Sample, TappedFile
from arroyo.errors import DecodeError
from arroyo.messages import SlabReference
from arroyo.protocol.values.actions import Action, Broadcast, Transmit
from arroyo.protocol.values.batches import count_of, header_of
from arroyo.shared_memory.payloads import PayloadStore

SAMPLES_PER_S = 20
"""More are never given: to split a batch of small messages takes up to 0.3 ms."""
BYTES_PER_S = 128 << 20
PAYLOAD_BYTES_MAX = 64 << 20
"""Of a larger payload only the size is given."""
LOOK_S = 0.01
"""How often it is looked whether a message is asked for, while somebody looks."""

Payload: TypeAlias = Buffer | SlabReference
"""A payload beside its message, or where it is in shared memory; empty: it is in the message."""


def pause_s(sample_bytes: int) -> float:
    """Return how long nothing is copied after a sample of this size."""
    return max(1 / SAMPLES_PER_S, sample_bytes / BYTES_PER_S)


class Tap:
    """The tap of one replica.

    Parameters
    ----------
    path
        Where a command that looks has its file; None: the whole chain is in this process, and
        nobody can look.
    below
        Stages below, with the links to them. Each message goes to all of them, so one of them is
        enough.
    """

    def __init__(
        self,
        path: Path | None,
        below: Sequence[tuple[Stage, Link]],
        payloads: PayloadStore,
        clock: Clock,
    ) -> None:
        self._path = path
        self._is_last = not below
        pulling = [stage.name for stage, link in below if link == "push-pull"]
        self._below = pulling[0] if pulling else None
        """The stage at which messages are looked at; None: all get them by pub-sub, at once."""
        self._payloads = payloads
        self._clock = clock
        self._file: TappedFile | None = None
        self.is_open = False
        """Whether somebody looks; `send` and `take` need not be called otherwise."""
        self._due = 0.0
        """When to look next whether a message is asked for."""

    def look(self) -> None:
        """Look whether somebody looks."""
        if self._path is None:
            return
        if self._file is None:
            with contextlib.suppress(OSError):
                self._file = TappedFile.find(self._path)
                self.is_open = self._file is not None
        elif not self._file.is_held:
            self._file.clear()
            self.close()

    def close(self) -> None:
        """Look no more."""
        if self._file is not None:
            self._file.close()
            self._file, self.is_open = None, False

    def send(self, action: Action) -> None:
        """Copy a message that is about to be sent, if one is asked for."""
        if isinstance(action, Transmit):
            if action.to.stage != self._below:
                return
        elif self._below is not None or not isinstance(action, Broadcast):
            return
        record, items = action.record, action.items
        if isinstance(record, Batch) and (number := self._wanted(record)):
            place = number % count_of(record)
            self._give(number, header_of(record, place), *pick_sent(items, place))

    def take(self, batch: Batch, frames: Sequence[Any]) -> None:
        """Copy a message of a batch that has come and can be read, if one is asked for."""
        if self._is_last and (number := self._wanted(batch)):
            place = number % count_of(batch)
            self._give(number, header_of(batch, place), *pick_came(batch, frames, place))

    def _wanted(self, batch: Batch) -> int:
        """Return the number of the sample that is asked for, if it is time to look; else 0."""
        now = self._clock.monotonic()
        if self._file is None or now < self._due or not batch.ranges or batch.kind == Kind.CLOSING:
            return 0
        self._due = now + LOOK_S
        try:
            return self._file.wanted
        except OSError:
            self.close()
            return 0

    def _give(self, number: int, header: Batch, message: bytes, payload: Payload) -> None:
        try:
            self._write(number, encode_record(header), message, payload)
        except OSError:
            self.close()
        except DecodeError:
            pass  # its payload is gone: that is told elsewhere
        self._payloads.release()

    def _write(self, number: int, header: bytes, message: bytes, payload: Payload) -> None:
        assert self._file is not None
        size = payload.length if isinstance(payload, SlabReference) else len(payload)
        if size > PAYLOAD_BYTES_MAX:
            payload = b""
        elif isinstance(payload, SlabReference):
            payload = self._payloads.view(payload)
        self._file.give(number, Sample(header, message, payload, size))
        self._due = self._clock.monotonic() + pause_s(len(message) + size)


def pick_sent(items: Sequence[Any], place: int) -> tuple[bytes, Payload]:
    """Return one of the messages that are to be sent, and its payload, if that is beside it."""
    if type(items) is Body:
        return bytes(split(items.frame())[place]), b""
    item = items[place]
    if isinstance(item, Shared):
        return item.body, item.reference
    if isinstance(item, Detached):
        return item.body, item.payload
    return item, b""


def pick_came(batch: Batch, frames: Sequence[Any], place: int) -> tuple[bytes, Payload]:
    """Return one of the messages that have come, and its payload, if that is beside it."""
    body, *detached = frames
    beside = dict(zip(batch.detached, detached, strict=True)) | dict(batch.slabs)
    return bytes(split(body)[place]), beside.get(place, b"")
