"""Neighbours of two releases: what one of them does not know."""

from typing import get_args

import msgspec

from arroyo.codec import Batch, Kind, Lost, decode_back, decode_data, encode_record, records

BATCH = Batch("a.0", 7, 3, Kind.EVENTS, "run", "s.1", 1 << 61, 5, 4, 2, handed_ns=5, sent_ns=6)


def test_every_record_goes_down_or_up():
    every = {each for each in vars(records).values() if isinstance(each, type)}
    every = {each for each in every if issubclass(each, records._Record)} - {records._Record}
    assert every == {*get_args(records.DataRecord), *get_args(records.BackRecord)}


def test_fields_that_a_later_release_appends_are_ignored():
    fields = msgspec.msgpack.decode(encode_record(Lost("b", 1, 7)))
    assert decode_back(msgspec.msgpack.encode([*fields, "new"])) == Lost("b", 1, 7)


def test_a_batch_of_a_neighbour_that_knows_no_times_has_none():
    fields = msgspec.msgpack.decode(encode_record(BATCH))
    older = decode_data(msgspec.msgpack.encode(fields[:-3]))
    assert (older.handed_ns, older.sent_ns) == (0, 0)
