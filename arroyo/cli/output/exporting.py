"""Writes a message from quarantine to a file for other programs, without its class."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import msgspec

from arroyo.errors import ConfigurationError, UsageError
from arroyo.messages import Event
from arroyo.runner.quarantine.store import QuarantineEntry

_EVENT_FIELDS = 5
"""First fields of a message with a payload: tag, metadata, payload, dtype, shape."""


def export(entry: QuarantineEntry, packed: bytes, path: Path) -> None:
    """Write a message as an array (``.npy``, ``.tif``) or with all its fields (``.json``).

    Raises
    ------
    UsageError
        The file exists, has another suffix, or the message carries no array.
    ConfigurationError
        A library is missing, or the file can't be written.
    """
    if path.exists():
        raise UsageError(f"{path} exists already; choose another name")
    kind = path.suffix.lower()
    if kind not in {".npy", ".tif", ".tiff", ".json"}:
        raise UsageError(
            f"{path} has none of the suffixes .npy, .tif and .json, which choose the format"
        )
    try:
        content = _content(entry, packed, kind)
        with contextlib.ExitStack() as failing:
            failing.callback(path.unlink, missing_ok=True)
            path.write_bytes(content)
            failing.pop_all()
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}") from error
    except ImportError as error:
        raise ConfigurationError(
            f"writing {path} needs {error.name}, which is not installed: "
            'pip install "arroyo[images]"'
        ) from error


def _content(entry: QuarantineEntry, packed: bytes, kind: str) -> bytes | memoryview:
    """Return what is to be in the file."""
    if kind == ".json":
        return msgspec.json.format(msgspec.json.encode(_describe(entry, packed), enc_hook=repr))
    array, file = _array(entry, packed), io.BytesIO()
    import numpy as np

    if kind == ".npy":
        np.save(file, array)
    elif array.dtype.kind not in "biufc":
        raise UsageError(
            f"{entry.id} holds values of type {array.dtype}, and an image holds numbers; export it "
            "to a .npy file"
        )
    else:
        import tifffile

        # It takes bits in rows only.
        tifffile.imwrite(file, np.atleast_2d(array) if array.dtype.kind == "b" else array)
    return file.getbuffer()


def _array(entry: QuarantineEntry, packed: bytes) -> Any:
    fields = _fields(packed) or []
    if not _is_event(fields) or not fields[3]:
        raise UsageError(f"{entry.id} carries no array; export it to a .json file")
    _, _, payload, dtype, shape, *_ = fields
    try:
        return Event({}, payload, dtype, tuple(shape)).array
    except (TypeError, ValueError) as error:
        raise UsageError(f"{entry.id}: {error}; export it to a .json file") from error


def _describe(entry: QuarantineEntry, packed: bytes) -> dict[str, Any]:
    """Return all fields, for JSON, where bytes are base64; what it can't hold is as in Python."""
    described: dict[str, Any] = msgspec.to_builtins(entry)
    fields = _fields(packed)
    if fields is None:
        return described | {"frame": packed}
    if not _is_event(fields):
        return described | {"fields" if entry.type else "frames": fields[bool(entry.type) :]}
    _, metadata, payload, dtype, shape, *own = fields
    found = {"metadata": metadata, "dtype": dtype, "shape": shape, "payload": payload}
    return described | found | ({"fields": own} if own else {})


def _fields(packed: bytes) -> list[Any] | None:
    try:
        fields = msgspec.msgpack.decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return fields if isinstance(fields, list) else None


def _is_event(fields: list[Any]) -> bool:
    return list(map(type, fields[1:_EVENT_FIELDS])) == [dict, bytes, str, list]
