"""The format of messages to and from other programs, the same on every transport. PURE.

A message is a small JSON header and its payload bytes. The header holds

- ``type``: ``Start``, ``Event``, ``Stop``, or the class name of a user's own message;
- ``run``, ``source``, ``sequence`` (not of Start and Stop), and, where they apply, ``fragment`` (a
  list of [index, count]) and ``path``: together they identify a message;
- ``data`` of a Start or Stop, ``metadata`` of an Event; own fields of a user's type in ``data``;
- ``dtype`` (numpy's type string with byte order, ``"<f4"``) and ``shape`` (C order) where the
  payload is an array.

JSON has neither bytes nor NaN: bytes become base64 text, NaN and infinity become null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from arroyo.errors import DecodeError, EncodeError
from arroyo.messages import Event, Message, Start, Stop
from arroyo.stages import Frame, MessageParser

UPSTREAM = "upstream"
"""Key of data or metadata that holds the origin that a received message had at its sender."""

MAX_DEPTH = 64
"""Maximum nesting of lists and objects in a header, far below the recursion limit of encoders."""

MAX_DIMENSIONS = 32
"""Maximum number of an array's axes, as in numpy 1."""

_PLAIN = re.compile(r"[<>|](?:b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32))", re.ASCII)
_TIME = re.compile(r"[<>][mM]8(?:\[\d{0,9}(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?", re.ASCII)
_SIZED = re.compile(r"[<>|][SUV][1-9]\d{0,8}", re.ASCII)

# An Event's fields have their own places in the header; fields of a subclass go to `data`.
_EVENT_FIELDS = frozenset(Event.__struct_fields__)

UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What `encode_json` raises."""


class _Header(msgspec.Struct):
    type: str
    run: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    sequence: int | UnsetType = UNSET
    fragment: tuple[tuple[int, int], ...] | UnsetType = UNSET
    path: int | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET
    dtype: str | UnsetType = UNSET
    shape: tuple[int, ...] | UnsetType = UNSET


def write_outward(message: Message) -> tuple[bytes, bytes | memoryview]:
    """Encode a message.

    Returns
    -------
    header, payload
        JSON in UTF-8, and a flat view of the payload (not a copy), empty if there is none.

    Raises
    ------
    EncodeError
        The message holds a value that JSON can't express.
    """
    return write_header(message), _flat(message.payload) if isinstance(message, Event) else b""


def write_header(message: Message) -> bytes:
    """Encode the header alone, for who has the payload; EncodeError as for `write_outward`."""
    kind, origin = type(message), message.origin
    metadata = message.metadata if isinstance(message, Event) else UNSET
    if origin is None:
        header = _Header(kind.__name__, metadata=metadata)
    else:
        run, source, _, sequence, path, fragment = origin
        header = _Header(
            kind.__name__,
            run,
            source,
            sequence if sequence >= 0 else UNSET,
            fragment or UNSET,
            path or UNSET,
            metadata,
        )
    if isinstance(message, Event) and message.dtype:
        header.dtype, header.shape = message.dtype, message.shape
    if kind is not Event:
        header.data = _data_of(message)
    try:
        return encode_json(header)
    except UNWRITABLE as error:
        raise EncodeError(f"this {header.type} can't be written as JSON: {error}") from error


class OutwardParser(MessageParser):
    """Reads the outward format from any transport.

    One message is ``[header][payload]`` or ``[header]``, either of them after a topic frame or
    not, or one frame with a msgpack array of header and payload (as in Redis pub/sub).
    Of the header's keys only ``type`` is needed. The origin of a message at its sender (run,
    source, sequence) is kept in ``message.metadata["upstream"]`` of an Event and
    ``message.data["upstream"]`` of a Start or Stop; this chain gives it an origin of its own.

    Parameters
    ----------
    types
        Users' own message types that may arrive, besides Start, Event and Stop. For a chain file,
        write a function that returns such a parser and name it: ``parser = "mine:make"``.
    """

    def __init__(self, types: Iterable[type[Message]] = ()) -> None:
        known: tuple[type[Message], ...] = (Start, Event, Stop, *types)
        self._types = {kind.__name__: kind for kind in known}

    def parse(self, frames: Sequence[Frame]) -> Message:
        """Read one message, its payload as a view of the frame; DecodeError says what is wrong."""
        raw_header, payload = _split(frames)
        try:
            header = _decode(raw_header)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"the header is not the JSON it should be: {error}") from error
        kind = self._types.get(header.type)
        if kind is None:
            raise DecodeError(
                f"type {header.type!r:.80} is unknown here; known are {', '.join(self._types)}"
            )
        _check_travels(header, raw_header)
        if kind is Event and header.dtype is header.shape is UNSET:  # nearly all
            return Event(_with_upstream(header, header.metadata or {}), payload)
        if issubclass(kind, Event):
            return _read_event(kind, header, payload)
        if payload:
            raise DecodeError(f"a {header.type} came with {len(payload)} bytes of payload")
        content = header.data or {}
        if kind in (Start, Stop):
            return kind(_with_upstream(header, content))
        return kind(**_read_own_fields(kind, content))


def _data_of(message: Message) -> dict[str, Any] | UnsetType:
    kind = type(message)
    if kind is Start or kind is Stop:
        return cast("Start | Stop", message).data
    own = _own_fields(kind)
    return {field.name: getattr(message, field.name) for field in own} if own else UNSET


def _flat(payload: bytes | bytearray | memoryview) -> bytes | memoryview:
    if isinstance(payload, bytes):
        return payload
    view = memoryview(payload)
    if view.nbytes == 0:
        return b""
    return view.cast("B") if view.c_contiguous else view.tobytes()


@cache
def _own_fields(kind: type[Message]) -> tuple[msgspec.structs.FieldInfo, ...]:
    # Cached: msgspec evaluates the types of the fields anew at each call.
    fields = msgspec.structs.fields(kind)
    if issubclass(kind, Event):
        return tuple(field for field in fields if field.name not in _EVENT_FIELDS)
    return fields


def _split(frames: Sequence[Frame]) -> tuple[Frame, memoryview]:
    if len(frames) == 3:
        return frames[1], memoryview(frames[2])
    # A header begins with a brace; a topic in front of it is dropped.
    if not 1 <= len(frames) <= 3:
        raise DecodeError(f"{len(frames)} frames came, expected [topic][header][payload]")
    if len(frames) == 2 and not _is_json(frames[0]):
        frames = frames[1:]
    if len(frames) == 1 and not _is_json(frames[0]):
        frames = _unpack(frames[0])
    return frames[0], memoryview(frames[1] if len(frames) == 2 else b"")


def _is_json(frame: Frame) -> bool:
    return bytes(frame[:16]).lstrip()[:1] == b"{"


def _unpack(frame: Frame) -> tuple[bytes, memoryview]:
    try:
        return _unpacker.decode(frame)
    except ValueError as error:
        raise DecodeError(
            "a message is neither a JSON header nor a msgpack array of header and payload"
        ) from error


def _read_event(kind: type[Event], header: _Header, payload: memoryview) -> Event:
    dtype: str = ""
    shape: tuple[int, ...] = ()
    if header.dtype is not UNSET or header.shape is not UNSET:
        dtype, shape = _read_array_form(header, len(payload))
    own = _read_own_fields(kind, header.data or {})
    metadata = _with_upstream(header, header.metadata or {})
    return kind(metadata=metadata, payload=payload, dtype=dtype, shape=shape, **own)


def _read_array_form(header: _Header, payload_bytes: int) -> tuple[str, tuple[int, ...]]:
    dtype, shape = header.dtype, header.shape
    if dtype is UNSET or shape is UNSET:
        raise DecodeError("of dtype and shape only one came; an array needs both")
    if len(shape) > MAX_DIMENSIONS or any(length < 0 for length in shape):
        raise DecodeError(f"shape {list(shape)!s:.80} is not the shape of an array")
    item_bytes = _item_bytes(dtype)
    if item_bytes * math.prod(max(length, 1) for length in shape) >= 1 << 63:
        raise DecodeError(f"shape {list(shape)!s:.80} is beyond any memory")
    if (expected := item_bytes * math.prod(shape)) != payload_bytes:
        raise DecodeError(
            f"dtype {dtype} and shape {list(shape)} make {expected} bytes, {payload_bytes} came"
        )
    return dtype, shape


def _item_bytes(dtype: str) -> int:
    if _PLAIN.fullmatch(dtype):
        return int(dtype[2:])
    if _TIME.fullmatch(dtype):
        return 8
    if _SIZED.fullmatch(dtype):
        return int(dtype[2:]) * (4 if dtype[1] == "U" else 1)
    raise DecodeError(
        f"dtype {dtype!r:.80} is not a plain type with byte order such as '<u2' "
        "(in numpy: array.dtype.str)"
    )


def _read_own_fields(kind: type[Message], data: dict[str, Any]) -> dict[str, Any]:
    values = {}
    for field in _own_fields(kind):
        if field.name in data:
            try:
                values[field.name] = msgspec.convert(data[field.name], field.type)
            except ValueError as error:
                raise DecodeError(f"{kind.__name__}.{field.name}: {error}") from error
        elif field.required:
            raise DecodeError(f"a {kind.__name__} came without {field.name!r} in its data")
    return values


def _with_upstream(header: _Header, content: dict[str, Any]) -> dict[str, Any]:
    if header.run is header.source is header.sequence is header.fragment is header.path is UNSET:
        return content
    upstream = {
        name: value
        for name in ("run", "source", "sequence", "fragment", "path")
        if (value := getattr(header, name)) is not UNSET
    }
    return {**content, UPSTREAM: upstream}


def _check_travels(header: _Header, raw_header: Frame) -> None:
    # JSON has numbers of any size and nesting of any depth; the links of a chain don't. Refuse such
    # a message here, rather than raise where the listener hands it over.
    if len(raw_header) > MAX_DEPTH:
        raw = bytes(raw_header)
        if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and not _fits(header, MAX_DEPTH):
            raise DecodeError(f"the header is nested more than {MAX_DEPTH} levels deep")
    try:
        _pack(header)
    except OverflowError as error:
        raise DecodeError("the header holds an integer of more than 64 bits") from error


def _fits(value: Any, levels: int) -> bool:
    if isinstance(value, _Header):
        return _fits(value.metadata, levels) and _fits(value.data, levels)
    if isinstance(value, dict):
        return levels > 0 and all(_fits(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels > 0 and all(_fits(item, levels - 1) for item in value)
    return True


def _encode_foreign(value: Any) -> Any:
    # numpy's scalars and arrays become numbers and lists, as between stages.
    convert = getattr(value, "tolist", None)
    if callable(convert):
        return convert()
    raise TypeError(f"{type(value).__name__} {value!r:.60} has no form in JSON")


encode_json = msgspec.json.Encoder(enc_hook=_encode_foreign).encode
_decode = msgspec.json.Decoder(_Header).decode
_pack = msgspec.msgpack.Encoder().encode
_unpacker = msgspec.msgpack.Decoder(tuple[bytes, memoryview])
