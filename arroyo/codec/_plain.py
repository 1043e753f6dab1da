"""Checks whether receivers can decode an Event, without decoding it. PURE."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32))", re.ASCII)
_known: set[str] = {""}


def is_plain(event: Any) -> bool:
    """Return True if receivers can decode an Event; values in its metadata are not checked."""
    metadata, dtype, shape = event.metadata, event.dtype, event.shape
    return (
        type(metadata) is dict
        and all(key.__class__ is str for key in metadata)
        and is_array_form(dtype, shape)
    )


def is_array_form(dtype: Any, shape: Any) -> bool:
    """Return True if these are a type of numpy, or none, and a tuple of lengths."""
    if type(dtype) is not str or type(shape) is not tuple:
        return False
    for length in shape:
        if type(length) is not int or length < 0:
            return False
    return dtype in _known or _is_dtype(dtype)


def explain_array_form(dtype: str, shape: tuple[int, ...]) -> str | None:
    """Return in words what is wrong with a dtype and a shape; None if nothing is."""
    if any(length < 0 for length in shape):
        return f"shape is {shape}: expected lengths from 0 on"
    if dtype not in _known and not _is_dtype(dtype):
        return f"dtype is {dtype!r:.60}: expected a plain type such as '<u2' (array.dtype.str)"
    return None


def _is_dtype(dtype: str) -> bool:
    found = _NUMBER.fullmatch(dtype) is not None or _is_known_to_numpy(dtype)
    if found and len(_known) < 1000:
        _known.add(dtype)
    return found


def _is_known_to_numpy(dtype: str) -> bool:
    # Only for rare types: a stage that passes arrays on need not load numpy.
    try:
        import numpy as np
    except ImportError:
        return True  # this process makes no array of it
    try:
        known = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        return False
    return not (known.hasobject or known.names)
