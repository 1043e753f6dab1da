"""`OutgoingBatch`: messages of one run, ready to be dispatched but not on a link yet. PURE."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from arroyo.codec import Batch, Kind, Reason, Tombstone
from arroyo.messages import Fragment

from .deliveries import LazyWork, Work

Position = tuple[int, Fragment]
"""Sequence of a message and which part of it this is."""


class OutgoingBatch(msgspec.Struct):
    """Messages that go on together."""

    header: Batch
    """Tells run, source, epoch and the like. Its ranges, fragments and tombstones belong to
    `items`; sender, link and number are still to be filled in."""
    items: Sequence[Any] = ()
    """One per message, opaque to the protocol."""
    size: int = 0
    """Bytes of all items."""
    keys: Sequence[int] | None = None
    """One number per item where the receiving stage asked for dispatch by key."""
    trim: Callable[[OutgoingBatch], OutgoingBatch] | None = None
    """Returns the batch without what was finished while it waited; for one that is sent again."""


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


def in_flight_at(batch: Batch) -> int:
    """Return how many messages its source had not seen finished, up to the last of a batch."""
    return batch.ranges[-1][1] - batch.frontier if batch.ranges else 0


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


def sort_positions(
    positions: Iterable[Position],
) -> tuple[tuple[tuple[int, int], ...], tuple[Position, ...]]:
    """Return the ranges of whole messages, and the parts of others."""
    positions = list(positions)
    whole = pack(sorted(sequence for sequence, fragment in positions if not fragment))
    return whole, tuple(position for position in positions if position[1])


def describe(positions: Sequence[Position]) -> dict[str, Any]:
    """Return the header fields that say which messages a body holds."""
    return {
        "ranges": pack(number for number, _ in positions),
        "fragments": tuple(
            (index, fragment) for index, (_, fragment) in enumerate(positions) if fragment
        ),
    }


def header_of(batch: Batch, place: int) -> Batch:
    """Return the header of one message of a batch, as if it travelled alone and in one piece."""
    position = sequences_of(batch)[place], dict(batch.fragments).get(place, ())
    return msgspec.structs.replace(
        batch, **describe([position]), detached=(), slabs=(), tombstones=()
    )


def tombstones_for(positions: Iterable[Position], reason: Reason) -> tuple[Tombstone, ...]:
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


def end_all(batch: Batch, reason: Reason) -> Batch:
    """Return the header of a batch in which each message has ended; its body is empty."""
    if batch.fragments:
        stones = tombstones_for(positions_of(batch), reason)
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


def end_at(batch: Batch, places: Collection[int], reason: Reason) -> Batch:
    """Return the header of a batch without the messages at some places of its body."""
    positions = positions_of(batch)
    stones = tombstones_for((positions[place] for place in sorted(places)), reason)
    kept = [position for place, position in enumerate(positions) if place not in places]
    return msgspec.structs.replace(
        batch,
        **describe(kept),
        detached=(),
        slabs=(),
        tombstones=(*batch.tombstones, *stones),
    )


def split_done(batch: Batch, done: Sequence[Work]) -> tuple[Batch, Batch]:
    """Return the headers of what was worked on and of the rest of a batch.

    What has been worked on goes on by itself, as if it had come alone. Nothing is in both, and
    nothing in neither; the first header has the batch's tombstones: they need not wait.

    `done`: the first of what `Receiver.plan` gave for the batch. Where the order of the source is
    restored, it may hold messages that came with an earlier batch.
    """
    if isinstance(done, LazyWork) and len(batch.ranges) == 1 and not batch.fragments:
        head, rest = _split(batch, len(done))
    else:
        positions = [(sequence, fragment) for sequence, fragment, _ in done]
        gone = set(positions)
        head = describe(positions)
        rest = describe([each for each in positions_of(batch) if each not in gone])
    bare = {"detached": (), "slabs": ()}  # these belong to the body as it came
    return (
        msgspec.structs.replace(batch, **head, **bare),
        msgspec.structs.replace(batch, **rest, **bare, tombstones=()),
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


def split(batch: OutgoingBatch, count: int) -> tuple[OutgoingBatch, OutgoingBatch]:
    """Split a batch after `count` of its messages; its tombstones go with the first part."""
    end = len(batch.items)
    front, back = _split(batch.header, count)
    return _piece(batch, 0, count, front), _piece(batch, count, end, back | {"tombstones": ()})


def cut(batch: OutgoingBatch, most: int) -> Iterator[OutgoingBatch]:
    """Yield a batch in pieces of up to `most` messages; its tombstones go with the first one.

    One pass over the messages: `split` looks at all that are left each time.
    """
    count = len(batch.items)
    if count <= most:
        yield batch
        return
    positions = positions_of(batch.header)
    tombstones = batch.header.tombstones
    for first in range(0, count, most):
        end = min(first + most, count)
        yield _piece(batch, first, end, describe(positions[first:end]) | {"tombstones": tombstones})
        tombstones = ()


def _piece(batch: OutgoingBatch, first: int, end: int, fields: dict[str, Any]) -> OutgoingBatch:
    """Return some neighbours of a batch; `fields` of their header."""
    count = len(batch.items)
    return OutgoingBatch(
        msgspec.structs.replace(batch.header, **fields),
        batch.items[first:end],
        batch.size * end // count - batch.size * first // count,
        None if batch.keys is None else batch.keys[first:end],
        batch.trim,
    )


def _split(header: Batch, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that say which messages come before and after a cut."""
    if len(header.ranges) == 1 and not header.fragments:
        ((first, end),) = header.ranges
        return {"ranges": ((first, first + count),)}, {"ranges": ((first + count, end),)}
    positions = positions_of(header)
    return describe(positions[:count]), describe(positions[count:])
