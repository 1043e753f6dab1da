"""Records as header frames, and back; a frame that contradicts itself is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from arroyo.errors import DecodeError
from arroyo.messages import Fragment

from .records import Ack, BackRecord, Batch, DataRecord, Kind, Range, Tombstone

BATCH_MESSAGES_MAX = 1 << 20
"""A header with more messages is refused before memory is taken for them."""

_encoder = msgspec.msgpack.Encoder()
_data_decoder = msgspec.msgpack.Decoder(DataRecord)
_back_decoder = msgspec.msgpack.Decoder(BackRecord)


encode_record: Callable[[DataRecord | BackRecord], bytes] = _encoder.encode
"""Returns the header frame of a record."""


def decode_data(header: bytes | memoryview) -> DataRecord:
    """Decode a header that came in on an `in` or `pub` socket.

    DecodeError: it is no data record of this version, or contradicts itself.
    """
    record: DataRecord = _decode(_data_decoder, header, "data")
    if isinstance(record, Batch):
        _require_batch(record)
    return record


def decode_back(header: bytes | memoryview) -> BackRecord:
    """Decode a header that came in on a `back` socket; errors as in `decode_data`."""
    record: BackRecord = _decode(_back_decoder, header, "back")
    if isinstance(record, Ack):
        _require_ranges(record.ranges)
        _require_tombstones(record.tombstones)
        _require_fragments(fragment for _, fragment in record.fragments)
    return record


def _decode(decoder: msgspec.msgpack.Decoder[Any], header: bytes | memoryview, kind: str) -> Any:
    try:
        return decoder.decode(header)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise DecodeError(f"a frame is no {kind} record of Arroyo: {error}") from error


def _require_batch(batch: Batch) -> None:
    # Most batches have one range and nothing else.
    if batch.tombstones:
        _require_tombstones(batch.tombstones)
    count = 0
    for first, end in batch.ranges:
        if first >= end:
            raise _empty_range(first, end)
        count += end - first
        if batch.kind == Kind.EVENTS and first < batch.base:
            raise DecodeError("a batch holds a message from before its run")
    if count > BATCH_MESSAGES_MAX:
        raise DecodeError(f"a batch has {count} messages, expected {BATCH_MESSAGES_MAX} at most")
    if batch.kind != Kind.EVENTS and (count != 1 or batch.fragments or batch.tombstones):
        raise DecodeError("a Start or Stop does not travel alone")
    if batch.fragments or batch.detached or batch.slabs:
        _require_parts(batch, count)
    if batch.returned is not None:
        _require_fragments((batch.returned.fragment,))


def _require_parts(batch: Batch, count: int) -> None:
    _require_fragments(fragment for _, fragment in batch.fragments)
    _require_places("fragments", [place for place, _ in batch.fragments], count)
    _require_places("detached payloads", batch.detached, count)
    _require_places("slabs", [place for place, _ in batch.slabs], count)


def _require_places(what: str, places: Sequence[int], count: int) -> None:
    if any(later <= former for former, later in itertools.pairwise((-1, *places, count))):
        raise DecodeError(f"a batch of {count} has its {what} at {places}")


def _require_ranges(ranges: Iterable[Range]) -> None:
    for first, end in ranges:
        if first >= end:
            raise _empty_range(first, end)


def _empty_range(first: int, end: int) -> DecodeError:
    return DecodeError(f"a record holds the range {first} to {end}, which is empty")


def _require_tombstones(stones: Iterable[Tombstone]) -> None:
    for first, end, _, fragment in stones:
        if first >= end or (fragment and end != first + 1):
            raise DecodeError(f"a record holds a tombstone from {first} to {end}")
        _require_fragments((fragment,))


def _require_fragments(fragments: Iterable[Fragment]) -> None:
    for fragment in fragments:
        if not all(0 <= index < count for index, count in fragment):
            raise DecodeError(f"a record holds the fragment {fragment}, which can't be")
