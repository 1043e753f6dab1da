"""`Body`: small messages encoded into one buffer, as they travel.

Most messages are never needed one by one after they are encoded, so they are not kept apart. A
single message is found by splitting the body.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, overload

import msgspec

from arroyo.messages import SlabReference

HEAD_BYTES = 5
"""Room for the head of a msgpack array of any length, in front of the messages."""


class Detached:
    """One encoded message in two pieces, body and payload; `len()` is the bytes of both."""

    __slots__ = ("body", "payload")

    def __init__(self, body: bytes, payload: bytes | memoryview) -> None:
        self.body = body
        self.payload = payload
        """It must not change any more."""

    def __len__(self) -> int:
        return len(self.body) + len(self.payload)


class Shared:
    """One encoded message whose payload is in shared memory; `len()` is the bytes of both."""

    __slots__ = ("body", "reference")

    def __init__(self, body: bytes, reference: SlabReference) -> None:
        self.body = body
        self.reference = reference

    def __len__(self) -> int:
        return len(self.body) + self.reference.length


Encoded: TypeAlias = bytes | Detached | Shared
"""One encoded message; most are one piece."""


class Body(Sequence[bytes]):
    """A sequence of encoded messages, each of one piece, in one buffer; a slice is another one.

    It grows by `append` and `MessageCodec.write`, until it is read or sent.
    """

    __slots__ = ("_at", "_ends", "_items", "buffer", "length")

    def __init__(self) -> None:
        self.buffer = bytearray(HEAD_BYTES)
        """Room for the head, then the messages."""
        self.length = 0
        self._items: list[bytes] | None = None
        self._ends: list[int] | None = None
        """Where the head and each message end, in this body or the one that it is a part of, once
        somebody has asked."""
        self._at = 0
        """Place of the head in that list."""

    def append(self, item: bytes) -> None:
        """Add an encoded message."""
        self.buffer += item
        self.length += 1

    @property
    def size(self) -> int:
        """Bytes of all messages."""
        return len(self.buffer) - HEAD_BYTES

    def frame(self) -> bytearray:
        """Return the body as a msgpack array."""
        self.buffer[:HEAD_BYTES] = b"\xdd" + self.length.to_bytes(4, "big")
        return self.buffer

    def so_far(self) -> list[bytes]:
        """Return the messages while another thread appends; none in the midst of a write."""
        length, content = self.length, bytes(self.buffer)
        head = b"\xdd" + length.to_bytes(4, "big")
        try:
            return list(map(bytes, split(head + content[HEAD_BYTES:])))
        except msgspec.DecodeError:
            return []  # the buffer holds more than `length` messages

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Body: ...
    def __getitem__(self, index: int | slice) -> bytes | Body:
        if isinstance(index, slice):
            first, end, _ = index.indices(self.length)
            return self._part(first, max(first, end))
        return self._split()[index]

    def _part(self, first: int, end: int) -> Body:
        """Return neighbours as a body of their own; no message of it is touched."""
        if self._ends is None:
            pieces = split(self.frame())
            self._ends = list(itertools.accumulate(map(len, pieces), initial=HEAD_BYTES))
        ends, at = self._ends, self._at
        outside = ends[at] - HEAD_BYTES
        part = Body()
        part.buffer += self.buffer[ends[at + first] - outside : ends[at + end] - outside]
        part.length = end - first
        part._ends, part._at = ends, at + first
        return part

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._split())

    def _split(self) -> list[bytes]:
        if self._items is None:
            self._items = list(map(bytes, split(self.frame())))
        return self._items


split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
"""Splits a msgpack array into messages, without decoding them."""


def join(items: Sequence[Encoded]) -> tuple[bytes | bytearray, tuple[int, ...], list[Any]]:
    """Return one frame of encoded messages, positions of detached payloads, and these payloads."""
    if type(items) is Body:
        return items.frame(), (), []
    detached = [(index, item.payload) for index, item in enumerate(items) if type(item) is Detached]
    pieces: Sequence[Any] = items
    if not set(map(type, items)) <= {bytes}:
        pieces = [item if isinstance(item, bytes) else item.body for item in items]
    frame = b"".join((array_header(len(items)), *pieces))
    return frame, tuple(index for index, _ in detached), [payload for _, payload in detached]


def slabs_of(items: Sequence[Encoded]) -> tuple[tuple[int, SlabReference], ...]:
    """Return the positions of messages whose payload is in shared memory, with references."""
    if type(items) is Body or Shared not in set(map(type, items)):
        return ()
    return tuple(
        (index, item.reference) for index, item in enumerate(items) if type(item) is Shared
    )


def shared_size_of(items: Sequence[Any]) -> int:
    """Return the bytes of payloads in shared memory."""
    if type(items) is Body or Shared not in set(map(type, items)):
        return 0
    return sum(item.reference.length for item in items if type(item) is Shared)


def size_of(items: Sequence[Any]) -> int:
    """Return the bytes of all messages, payloads included."""
    return items.size if type(items) is Body else sum(map(len, items))


def array_header(count: int) -> bytes:
    """Return the head of a msgpack array of `count` items."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
