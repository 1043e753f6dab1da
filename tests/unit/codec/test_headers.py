from __future__ import annotations

import contextlib

import msgspec
import pytest
from hostile_frames import HOSTILE_BACK, HOSTILE_DATA, ack, batch
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import (
    Ack,
    Batch,
    Bye,
    Credit,
    End,
    Hello,
    Kind,
    Lost,
    Open,
    Reason,
    Refuse,
    Tombstone,
    decode_back,
    decode_data,
    encode_record,
)
from arroyo.errors import DecodeError

BATCH = Batch("a.0", 7, 3, Kind.EVENTS, "run", "s.1", 1 << 61, 5, 4, 2)
DATA = [
    Open(1, "a", 0, 1 << 61, 1 << 61),
    End("a.0", 7),
    End("a.0", 7, final=False),
    BATCH,
    msgspec.structs.replace(
        BATCH,
        ranges=((5, 6), (5, 6), (9, 12)),
        fragments=((0, ((0, 2),)), (1, ((1, 2), (0, 3)))),
        tombstones=(Tombstone(6, 9, Reason.FILTERED), Tombstone(5, 6, Reason.SKIPPED, ((1, 2),))),
        detached=(2, 4),
        attempt=3,
        reliable=False,
        implicit=True,
        handed_ns=1 << 61,
        sent_ns=(1 << 61) + 1,
    ),
    msgspec.structs.replace(BATCH, kind=Kind.STOP, ranges=((12, 13),)),
]
BACK = [
    Hello(1, "b", 1, 2),
    Bye("b", 1, 2),
    Credit("b", 1, 7, 4, 0.25),
    Ack("b", 1, "s.1", 5, 2, ((1, 3),), (Tombstone(3, 4, Reason.QUARANTINED),), ((4, ((0, 2),)),)),
    Lost("b", 1),
    Lost("b", 1, 7),
    Refuse("b", 1, 2, "speak my version"),
]


@pytest.mark.parametrize("record", DATA, ids=lambda record: type(record).__name__)
def test_a_data_record_comes_back_as_it_was(record):
    assert decode_data(encode_record(record)) == record


@pytest.mark.parametrize("record", BACK, ids=lambda record: type(record).__name__)
def test_a_back_record_comes_back_as_it_was(record):
    assert decode_back(encode_record(record)) == record


def test_a_header_is_read_from_a_view_of_a_frame():
    assert decode_data(memoryview(encode_record(BATCH))) == BATCH


def test_the_corpus_is_hostile_only_by_what_was_changed():
    assert isinstance(decode_data(batch()), Batch)
    assert isinstance(decode_back(ack()), Ack)


@pytest.mark.parametrize("name", HOSTILE_DATA)
def test_a_hostile_data_frame_is_refused_in_words(name):
    with pytest.raises(DecodeError):
        decode_data(HOSTILE_DATA[name])


@pytest.mark.parametrize("name", HOSTILE_BACK)
def test_a_hostile_back_frame_is_refused_in_words(name):
    with pytest.raises(DecodeError):
        decode_back(HOSTILE_BACK[name])


@given(st.binary(max_size=64))
def test_random_bytes_are_read_or_refused(frame):
    for decode in (decode_data, decode_back):
        with contextlib.suppress(DecodeError):
            decode(frame)


@given(st.sampled_from(DATA + BACK), st.integers(0, 200), st.integers(0, 255))
def test_a_record_with_one_wrong_byte_is_read_or_refused(record, at, byte):
    frame = bytearray(encode_record(record))
    frame[at % len(frame)] = byte
    for decode in (decode_data, decode_back):
        with contextlib.suppress(DecodeError):
            decode(bytes(frame))
