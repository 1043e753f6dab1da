"""Frames that nobody in his right mind sends, each by what is wrong with it.

Whoever reads them must answer with a DecodeError and nothing else: no crash, no endless loop, no
room made for what is only promised.
"""

from __future__ import annotations

from typing import Any

import msgspec

HUGE = 1 << 62


def pack(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


def batch(**changes: Any) -> bytes:
    """A good batch of two events, but for `changes`."""
    fields: dict[str, Any] = {
        "sender": "a.0",
        "link": 1,
        "number": 0,
        "kind": 0,
        "run": "r",
        "source": "s.0",
        "epoch": 1,
        "base": 1,
        "frontier": 0,
        "path": 0,
        "attempt": 0,
        "implicit": False,
        "reliable": True,
        "ranges": [(1, 3)],
        "tombstones": [],
        "fragments": [],
        "detached": [],
        "slabs": [],
        "suspect": 0,
        "enters": "",
        "holders": [],
        "handed_ns": 0,
        "sent_ns": 0,
        "returned": None,
    }
    assert changes.keys() <= fields.keys()
    return pack([2, *(fields | changes).values()])


def ack(**changes: Any) -> bytes:
    """A good acknowledgement, but for `changes`."""
    fields: dict[str, Any] = {
        "stage": "b",
        "replica": 0,
        "source": "s.0",
        "epoch": 1,
        "path": 0,
        "ranges": [(1, 3)],
        "tombstones": [],
        "fragments": [],
        "taken": 0,
    }
    assert changes.keys() <= fields.keys()
    return pack([19, *(fields | changes).values()])


GARBAGE = {
    "nothing": b"",
    "one zero": b"\0",
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "a number": pack(7),
    "nil": pack(None),
    "a map": pack({"a": 1}),
    "an empty array": pack([]),
    "an unknown tag": pack([99, "a", 0]),
    "a tag of another type": pack(["Batch", "a", 0]),
    "a negative tag": pack([-2, "a", 0]),
    "bytes that are no text": b"\x93\x03\xa2\xff\xfe\x01",
    "a length beyond the frame": b"\xdd\xff\xff\xff\xff",
    "text of four gigabytes": b"\x92\x03\xdb\xff\xff\xff\xff",
    "a deep nest": b"\x91" * 100_000,
    "a deep nest in a record": pack([2, "a.0", 1])[:-1] + b"\x91" * 100_000,
    "maps without end": b"\x81\x01" * 50_000,
    "an extension": b"\xc7\x04\x7fabcd",
    "the byte that msgpack never uses": b"\xc1",
    "two records in one frame": pack([3, "a.0", 1, True]) * 2,
}

HOSTILE_DATA = GARBAGE | {
    "cut short": batch()[:-1],
    "cut to the half": batch()[: len(batch()) // 2],
    "too few fields": pack([2, "a.0", 1, 0]),
    "a back record": ack(),
    "an open without a version": pack([1]),
    "an open of text": pack([1, "1", "a", 0, 1, 1]),
    "a negative replica": pack([1, 1, "a", -1, 1, 1]),
    "a link of 64 bits": pack([1, 1, "a", 0, 1, (1 << 64) - 1]),
    "an end of nothing": pack([3]),
    "a negative link": batch(link=-1),
    "a negative number": batch(number=-1),
    "a number of 64 bits": batch(number=(1 << 64) - 1),
    "an unknown kind": batch(kind=3),
    "a negative path": batch(path=-1),
    "a path that no edge can be added to": batch(path=(1 << 64) - 1),
    "a frontier below zero": batch(frontier=-5),
    "ranges that fill the memory": batch(ranges=[(1, HUGE)]),
    "many ranges that fill the memory": batch(ranges=[(1, 1 << 20)] * 1000),
    "a range beyond 62 bits": batch(ranges=[(1, HUGE + 1)]),
    "an empty range": batch(ranges=[(2, 2)]),
    "a range that runs back": batch(ranges=[(3, 1)]),
    "a negative range": batch(ranges=[(-2, 1)]),
    "a range of one number": batch(ranges=[(1,)]),
    "a range of three": batch(ranges=[(1, 2, 3)]),
    "a range of text": batch(ranges=[("1", "2")]),
    "a range of floats": batch(ranges=[(1.5, 2.5)]),
    "events from before the run": batch(base=2),
    "a Start with two places": batch(kind=1),
    "a Start with none": batch(kind=1, ranges=[]),
    "a Stop in parts": batch(kind=2, ranges=[(1, 2)], fragments=[(0, [(0, 2)])]),
    "a Stop with tombstones": batch(kind=2, ranges=[(1, 2)], tombstones=[(4, 5, 0, [])]),
    "an empty tombstone": batch(tombstones=[(2, 2, 0, [])]),
    "a tombstone that runs back": batch(tombstones=[(5, 2, 0, [])]),
    "a negative tombstone": batch(tombstones=[(-5, 2, 0, [])]),
    "a tombstone for no reason": batch(tombstones=[(2, 3, 9, [])]),
    "a tombstone for one part of many": batch(tombstones=[(2, 5, 0, [(0, 2)])]),
    "a tombstone for a part that can't be": batch(tombstones=[(2, 3, 0, [(2, 2)])]),
    "a part of none": batch(fragments=[(0, [(0, 0)])]),
    "a part beyond the last": batch(fragments=[(0, [(2, 2)])]),
    "a part before the first": batch(fragments=[(0, [(-1, 2)])]),
    "a nested part of none": batch(fragments=[(0, [(0, 2), (0, 0)])]),
    "parts out of order": batch(fragments=[(1, [(0, 2)]), (0, [(1, 2)])]),
    "two parts in one place": batch(fragments=[(0, [(0, 2)]), (0, [(1, 2)])]),
    "a part where nothing is": batch(fragments=[(2, [(0, 2)])]),
    "a part at minus one": batch(fragments=[(-1, [(0, 2)])]),
    "a message that returns from a negative place": batch(returned=["r", 1, -1]),
    "a message that returns from a part that can't be": batch(returned=["r", 1, 0, 0, [(2, 2)]]),
    "a message that returns from nowhere": batch(returned=[]),
    "payloads out of order": batch(detached=[1, 0]),
    "two payloads in one place": batch(detached=[1, 1]),
    "a payload where nothing is": batch(detached=[2]),
    "a payload at minus one": batch(detached=[-1]),
}

HOSTILE_BACK = GARBAGE | {
    "cut short": ack()[:-1],
    "a data record": batch(),
    "a hello without a name": pack([16, 1]),
    "a negative replica": pack([16, 1, "b", -1, 1]),
    "a credit of minus one": pack([18, "b", 0, 1, -1, 0.0]),
    "a credit of no time": pack([18, "b", 0, 1, 1, None]),
    "a credit of less than no time": pack([18, "b", 0, 1, 1, -1.0]),
    "a credit of not a number": pack([18, "b", 0, 1, 1, float("nan")]),
    "a negative path": ack(path=-1),
    "a range that runs back": ack(ranges=[(3, 1)]),
    "a negative range": ack(ranges=[(-3, 1)]),
    "a range beyond 62 bits": ack(ranges=[(1, HUGE + 1)]),
    "an empty tombstone": ack(tombstones=[(1, 1, 0, [])]),
    "a tombstone for no reason": ack(tombstones=[(1, 2, 77, [])]),
    "a part of none": ack(fragments=[(1, [(0, 0)])]),
    "a part beyond the last": ack(fragments=[(1, [(5, 2)])]),
    "a part of a negative message": ack(fragments=[(-1, [(0, 2)])]),
}

EVENT = ["Event", {}, b"", "", []]

HOSTILE_BODIES = {
    name: frame for name, frame in GARBAGE.items() if name not in ("an empty array",)
} | {
    "one message without its list": pack(EVENT),
    "a message of an unknown type": pack([["Explosion", {}]]),
    "a message of no type": pack([[]]),
    "a message that is a map": pack([{"type": "Event"}]),
    "metadata that is a list": pack([["Event", [], b"", "", []]]),
    "a payload that is a number": pack([["Event", {}, 5, "", []]]),
    "a shape of text": pack([["Event", {}, b"", "<f4", ["x"]]]),
    "a second message cut short": pack([EVENT, EVENT])[:-1],
    "a count that is not there": b"\xdc\xff\xff" + pack(EVENT),
    "metadata in a deep nest": pack([EVENT])[:2] + pack("Event") + b"\x81\xa1a" * 50_000,
}
