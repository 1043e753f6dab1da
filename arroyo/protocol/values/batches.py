"""`OutgoingBatch`: messages of one run, ready to be dispatched but not on a link yet. PURE."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import Batch, Kind, Reason, Tombstone
from arroyo.messages import Fragment

Position = tuple[int, Fragment]
"""Sequence of a message and which part of it this is."""


class OutgoingBatch(msgspec.Struct):
    """Messages that go on together.

    Attributes
    ----------
    header
        Tells run, source, epoch and the like. Its ranges, fragments and tombstones belong to
        `items`; sender, link and number are still to be filled in.
    items
        One per message, opaque to the protocol.
    size
        Bytes of all items.
    keys
        One number per item where the receiving stage asked for dispatch by key.
    trim
        Returns the load without what was finished while it waited; for one that is sent again.
    """

    header: Batch
    items: Sequence[Any] = ()
    size: int = 0
    keys: Sequence[int] | None = None
    trim: Callable[[OutgoingBatch], OutgoingBatch] | None = None


def sequences_of(batch: Batch) -> Sequence[int]:
    """Return the sequence of each message in a batch's body, in order."""
    if len(batch.ranges) == 1:
        return range(*batch.ranges[0])
    return [number for first, end in batch.ranges for number in range(first, end)]


def count_of(batch: Batch) -> int:
    """Number of messages in a batch's body."""
    if len(batch.ranges) == 1:
        [(first, end)] = batch.ranges
        return end - first
    return sum(end - first for first, end in batch.ranges)


def positions_of(batch: Batch) -> list[Position]:
    """Return sequence and fragment of each message in a batch's body, in order."""
    fragments = dict(batch.fragments)
    return [(number, fragments.get(index, ())) for index, number in enumerate(sequences_of(batch))]


def pack(sequences: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return the ranges that `sequences_of` turns back into `sequences`, repeats included."""
    ranges: list[tuple[int, int]] = []
    first = end = -1
    for number in sequences:
        if number == end:
            end += 1
            continue
        if end > first:
            ranges.append((first, end))
        first, end = number, number + 1
    if end > first:
        ranges.append((first, end))
    return tuple(ranges)


def describe(positions: Sequence[Position]) -> dict[str, Any]:
    """Return the header fields that say which messages a body holds."""
    return {
        "ranges": pack(number for number, _ in positions),
        "fragments": tuple(
            (index, fragment) for index, (_, fragment) in enumerate(positions) if fragment
        ),
    }


def bury(positions: Iterable[Position], reason: Reason) -> tuple[Tombstone, ...]:
    """Return tombstones for messages, as few as possible."""
    whole = []
    parts = []
    for number, fragment in positions:
        if fragment:
            parts.append(Tombstone(number, number + 1, reason, fragment))
        else:
            whole.append(number)
    stones = [Tombstone(first, end, reason) for first, end in pack(whole)]
    return (*stones, *parts)


def bury_all(batch: Batch, reason: Reason) -> Batch:
    """Return the header of a batch in which each message has ended; its body is empty."""
    if batch.fragments:
        stones = bury(positions_of(batch), reason)
    else:
        stones = tuple(Tombstone(first, end, reason) for first, end in batch.ranges)
    return msgspec.structs.replace(
        batch,
        kind=Kind.EVENTS,
        ranges=(),
        fragments=(),
        detached=(),
        slabs=(),
        tombstones=(*batch.tombstones, *stones),
    )


def bury_at(batch: Batch, places: Collection[int], reason: Reason) -> Batch:
    """Return the header of a batch without the messages at some places of its body."""
    positions = positions_of(batch)
    stones = bury((positions[place] for place in sorted(places)), reason)
    kept = [position for place, position in enumerate(positions) if place not in places]
    return msgspec.structs.replace(
        batch,
        **describe(kept),
        detached=(),
        slabs=(),
        tombstones=(*batch.tombstones, *stones),
    )


def merge(stones: Sequence[Tombstone]) -> tuple[Tombstone, ...]:
    """Join neighbouring tombstones of one reason."""
    merged: list[Tombstone] = []
    for stone in stones:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.end == stone.first
            and last.reason == stone.reason
            and not last.fragment
            and not stone.fragment
        ):
            merged[-1] = Tombstone(last.first, stone.end, last.reason)
        else:
            merged.append(stone)
    return tuple(merged)


def take(load: OutgoingBatch, count: int) -> tuple[OutgoingBatch, OutgoingBatch | None]:
    """Split a load after `count` messages; its tombstones go with the first part."""
    if count >= len(load.items):
        return load, None
    front, back = _split(load.header, count)
    share = load.size * count // len(load.items)
    keys = load.keys
    head = OutgoingBatch(
        msgspec.structs.replace(load.header, **front),
        load.items[:count],
        share,
        None if keys is None else keys[:count],
        load.trim,
    )
    rest = OutgoingBatch(
        msgspec.structs.replace(load.header, **back, tombstones=()),
        load.items[count:],
        load.size - share,
        None if keys is None else keys[count:],
        load.trim,
    )
    return head, rest


def cut(load: OutgoingBatch, most: int) -> Iterator[OutgoingBatch]:
    """Yield a load in pieces of up to `most` messages; its tombstones go with the first one.

    One pass over the messages: `take` looks at all that are left each time.
    """
    count = len(load.items)
    if count <= most:
        yield load
        return
    positions = positions_of(load.header)
    tombstones = load.header.tombstones
    for first in range(0, count, most):
        end = min(first + most, count)
        fields = describe(positions[first:end]) | {"tombstones": tombstones}
        yield OutgoingBatch(
            msgspec.structs.replace(load.header, **fields),
            load.items[first:end],
            load.size * end // count - load.size * first // count,
            None if load.keys is None else load.keys[first:end],
            load.trim,
        )
        tombstones = ()


def _split(header: Batch, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that say which messages come before and after a cut."""
    if len(header.ranges) == 1 and not header.fragments:
        ((first, end),) = header.ranges
        return {"ranges": ((first, first + count),)}, {"ranges": ((first + count, end),)}
    positions = positions_of(header)
    return describe(positions[:count]), describe(positions[count:])
