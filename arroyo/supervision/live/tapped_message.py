"""What `arroyo tap` says of a message: as fields, and as a line. PURE.

Messages are read without their classes, which only the chain's code has.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from arroyo.codec import Batch, Buffer, Kind
from arroyo.messages import Event, Origin, origin_key
from arroyo.protocol.values.batches import positions_of
from arroyo.protocol.values.deliveries import origins_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHOLE_VALUES = 16
"""An array of so many values is shown whole."""
LINE_CHARACTERS = 300
"""Of longer metadata the beginning is shown in a line."""
_EVENT_FIELDS = 4
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError)


def describe(header: Batch, message: Buffer, payload: Buffer, payload_bytes: int) -> dict[str, Any]:
    """Return all that is known of one message, as JSON can hold it.

    Parameters
    ----------
    header
        Header of this message alone.
    message
        The encoded message.
    payload
        A payload that travels beside the message, as far as it was copied.
    payload_bytes
        Its size; 0: it is in the message.
    """
    found, payload = describe_head(header, message, payload, payload_bytes)
    if found.get("dtype") and len(payload) == found["payload_bytes"]:
        found |= summarise(payload, found["dtype"], found["shape"])
    return found


def describe_head(
    header: Batch, message: Buffer, payload: Buffer, payload_bytes: int
) -> tuple[dict[str, Any], Buffer]:
    """Return what `describe` does, but nothing of the values of an array; and the payload."""
    kind, fields = _read(message)
    found: dict[str, Any] = {"kind": kind, **_origin(header)}
    if header.kind != Kind.EVENTS:
        return found | {"data": _plain(fields[0] if fields else {})}, payload
    if list(map(type, fields[:_EVENT_FIELDS])) != [dict, bytes, str, list]:
        return found | {"bytes": len(message), "fields": _plain(fields)}, payload
    metadata, inline, dtype, shape, *own = fields
    if not payload_bytes:
        payload, payload_bytes = inline, len(inline)
    found |= {"metadata": _plain(metadata), "payload_bytes": payload_bytes}
    if own:
        found["fields"] = _plain(own)
    if dtype:
        found |= {"dtype": dtype, "shape": shape}
    return found, payload


def _read(message: Buffer) -> tuple[str, list[Any]]:
    """Return the name of a message's class, and its fields."""
    try:
        kind, *fields = msgspec.msgpack.decode(message)
    except _UNREADABLE:
        kind, fields = None, []
    return (kind, fields) if isinstance(kind, str) else ("unreadable", [])


def _origin(header: Batch) -> dict[str, Any]:
    [(sequence, fragment)] = positions_of(header)
    control = "" if header.kind == Kind.EVENTS else header.kind.name.lower()
    origin: Origin = origins_of(header)(header.base - 1 if control else sequence, fragment)
    fields = {"key": origin_key(origin, control), **origin._asdict()}
    return fields | {"attempt": header.attempt}


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back; what it can't hold as Python writes it."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value, enc_hook=repr))
    except _UNREADABLE:
        return repr(value)


def summarise(payload: Buffer, dtype: str, shape: list[int]) -> dict[str, Any]:
    """Return least, greatest and mean value of an array, how many are no numbers; or all values.

    Statistics leave out what is no number; None: nothing else is there. Empty where the payload is
    no array of plain numbers, or numpy is not installed.
    """
    array = numbers_of(payload, dtype, shape)
    if array is None:
        return {}
    import numpy as np

    if array.size <= WHOLE_VALUES:
        return {"values": _plain(array.tolist())}
    is_nan = np.isnan(array) if array.dtype.kind == "f" else None
    nan = 0 if is_nan is None else int(np.count_nonzero(is_nan))
    numbers = array[~is_nan] if nan and is_nan is not None else array
    if not numbers.size:
        return {"min": None, "max": None, "mean": None, "nan": nan}
    with np.errstate(all="ignore"):
        mean = float(numbers.mean(dtype="f8"))
    return {
        "min": numbers.min().item(),
        "max": numbers.max().item(),
        "mean": mean if math.isfinite(mean) else None,
        "nan": nan,
    }


def numbers_of(payload: Buffer, dtype: str, shape: list[int]) -> NDArray[Any] | None:
    """Return an array; None: it has no plain numbers, or numpy is not installed."""
    try:
        import numpy as np

        array = Event({}, payload, dtype, tuple(shape)).array
    except (ImportError, TypeError, ValueError):
        return None
    if array.dtype.char == "g":  # wider than a float of Python, which is what is shown
        with np.errstate(all="ignore"):
            array = array.astype("f8")
    return array if array.dtype.kind in "biuf" else None


def line_of(fields: Mapping[str, Any]) -> str:
    """Return what `describe` has found as a line for people."""
    words = [fields["kind"], fields["key"]]
    if fields["attempt"]:
        words.append("(sent again)")
    if "dtype" in fields:
        shape = "x".join(map(str, fields["shape"]))
        words.append(f"{_type_name(fields['dtype'])} {shape or 'scalar'}")
    if "values" in fields:
        words.append(json.dumps(fields["values"]))
    elif "nan" in fields:
        words += [f"{name} {_number(fields[name])}" for name in ("min", "max", "mean")]
        words += [f"nan {fields['nan']}"] if fields["nan"] else []
    if fields.get("payload_bytes"):
        words.append(f"{fields['payload_bytes']:,} B")
    words += [_short(fields[name]) for name in ("metadata", "data", "fields") if fields.get(name)]
    text = "  ".join(words)
    # Others could move the cursor, or hide the line.
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def _type_name(dtype: str) -> str:
    try:
        import numpy as np

        return np.dtype(dtype).name
    except (ImportError, TypeError, ValueError, SyntaxError):
        return dtype


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LINE_CHARACTERS else f"{text[: LINE_CHARACTERS - 1]}…"
