"""Values of an event's metadata as elements of HDF5 datasets. PURE.

SWMR allows strings of fixed length only, and a dataset's type can't change: the first event of a
run decides, and what doesn't fit without loss is not stored.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

TEXT_BYTES = 256
"""Maximum size of a string, in UTF-8."""

_INT64 = np.iinfo(np.int64)


def is_name(key: str) -> bool:
    """Return True if a dataset or attribute can have this name."""
    return key not in ("", ".") and "/" not in key and "\0" not in key


def kind_of(value: Any) -> np.dtype[Any] | None:
    """Return the type of dataset for a value of the metadata; None if it gets no dataset."""
    if isinstance(value, bool):
        return np.dtype(np.bool_)
    if isinstance(value, int) and _INT64.min <= value <= _INT64.max:
        return np.dtype(np.int64)
    if isinstance(value, float):
        return np.dtype(np.float64)
    if isinstance(value, str) and "\0" not in value:
        return np.dtype(f"S{TEXT_BYTES}")
    return None


def missing(dtype: np.dtype[Any]) -> Any:
    """Return the element for a missing value: NaN, the smallest int64, False, or empty text."""
    if dtype.kind == "f":
        return np.nan
    return _INT64.min if dtype.kind == "i" else np.zeros((), dtype)[()]


def fit(value: Any, dtype: np.dtype[Any]) -> Any:
    """Convert `value` to `dtype` if nothing is lost, else None; strings may be cut as by `cut`."""
    if isinstance(value, str):
        return cut(value) if dtype.kind == "S" and "\0" not in value else None
    if not isinstance(value, int | float) or dtype.kind == "S":
        return None
    if dtype.kind == "b":
        return bool(value) if value in (0, 1) else None
    try:
        if dtype.kind == "f":
            return float(value) if math.isnan(value) or float(value) == value else None
        return int(value) if int(value) == value and abs(value) <= _INT64.max else None
    except (OverflowError, ValueError):  # an int beyond all floats; a float that is no number
        return None


def cut(text: str) -> bytes:
    """Encode text in at most `TEXT_BYTES` bytes, with an ellipsis where characters were cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= TEXT_BYTES:
        return encoded
    ellipsis = "…".encode()
    return encoded[: TEXT_BYTES - len(ellipsis)].decode("utf-8", "ignore").encode() + ellipsis
