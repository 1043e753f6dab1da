"""Messages that look like the outward format, and are not to be read."""

import json

import msgspec


def array_frames(dtype, shape, payload=b""):
    return [json.dumps({"type": "Event", "dtype": dtype, "shape": shape}).encode(), payload]


HOSTILE_OUTWARD = {
    "no frames": [],
    "too many frames": [b"a", b"{}", b"b", b"c"],
    "an empty frame": [b""],
    "not JSON": [b"\x80\x04\x95pickle"],
    "a topic and no JSON": [b"topic", b"payload"],
    "half of a header": [b'{"type": "Event"'],
    "text after the header": [b'{"type": "Event"} {}'],
    "no UTF-8": [b'{"type": "\xff"}'],
    "half of a surrogate": [b'{"type": "\\ud800"}'],
    "no type": [b"{}", b""],
    "a type that is a number": [b'{"type": 1}'],
    "a type that is unknown": [b'{"type": "os.system"}'],
    "a very long type": [b'{"type": "' + b"x" * 100_000 + b'"}'],
    "a list for a header": [b"topic", b'[{"type": "Event"}]', b""],
    "metadata that are a list": [b'{"type": "Event", "metadata": []}'],
    "data that are text": [b'{"type": "Start", "data": "x"}'],
    "a sequence that is text": [b'{"type": "Event", "sequence": "1"}'],
    "a fragment of one number": [b'{"type": "Event", "fragment": [[1]]}'],
    "an infinite number": [b'{"type": "Event", "metadata": {"a": 1e999}}'],
    "NaN": [b'{"type": "Event", "metadata": {"a": NaN}}'],
    "an integer of 100 digits": [b'{"type": "Event", "metadata": {"a": ' + b"9" * 100 + b"}}"],
    "a sequence of 100 digits": [b'{"type": "Event", "sequence": ' + b"9" * 100 + b"}"],
    "nesting without end": [b'{"type": "Event", "metadata": {"a": ' + b"[" * 100_000],
    "deep nesting": [b'{"type":"Event","metadata":{"a":' + b"[" * 200 + b"]" * 200 + b"}}"],
    "deep objects": [b'{"type":"Start","data":' + b'{"a":' * 99 + b"1" + b"}" * 99 + b"}"],
    "a Start with a payload": [b'{"type": "Start"}', b"abc"],
    "a dtype without shape": [b'{"type": "Event", "dtype": "<u2"}', b"ab"],
    "a shape without dtype": [b'{"type": "Event", "shape": [2]}', b"ab"],
    "a payload too short": array_frames("<u2", [2, 2], b"\0" * 7),
    "a payload too long": array_frames("<u2", [2, 2], b"\0" * 9),
    "a negative length": array_frames("<u2", [-1, 2], b"\0" * 4),
    "two negative lengths": array_frames("<u2", [-1, -2], b"\0" * 4),
    "a length that is not whole": array_frames("<u2", [1.5], b"\0" * 3),
    "a length that is true": array_frames("|u1", [True], b"\0"),
    "an overflowing shape": array_frames("<u2", [2**62, 2**62, 0]),
    "a huge length": array_frames("<u2", [10**30, 0]),
    "too many axes": array_frames("|u1", [1] * 65, b"\0"),
    "objects": array_frames("|O", [1], b"\0" * 8),
    "a sized object": array_frames("|O8", [1], b"\0" * 8),
    "fields": array_frames("[('a', '<u2')]", [1], b"\0\0"),
    "a list of types": array_frames("<u2,<u2", [1], b"\0" * 4),
    "an empty dtype": array_frames("", [3], b"abc"),
    "no byte order": array_frames("uint16", [1], b"\0\0"),
    "an item size that numpy lacks": array_frames("<f3", [1], b"\0" * 3),
    "items of nothing": array_frames("|V0", [5]),
    "digits of another script": array_frames("|S٣", [1], b"abc"),
    "msgpack of one item": [msgspec.msgpack.encode([b'{"type": "Event"}'])],
    "msgpack of three items": [msgspec.msgpack.encode([b"{}", b"", b""])],
    "msgpack of texts": [msgspec.msgpack.encode(['{"type": "Event"}', 1])],
    "msgpack that lies about its size": [b"\x92\xc6\xff\xff\xff\xff"],
    "msgpack of a broken header": [msgspec.msgpack.encode([b"{", b""])],
}
