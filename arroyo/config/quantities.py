"""Times and sizes as people write them: ``"250 ms"``, ``"256 MiB"``. PURE."""

from __future__ import annotations

import math
import re

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}
_NUMBER_AND_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)


def parse_duration(found: float | str, *, or_zero: bool = False) -> float:
    """Return a time in s. A number, or text without a unit, is in s.

    ValueError: it is no time, or is not above 0 (0 is allowed with `or_zero`).
    """
    seconds = _scale(found, _SECONDS, "s", "a time such as 5, '250 ms', '5 s', '2 min' or '1 h'")
    if not (0 < seconds < math.inf or (or_zero and seconds == 0)):
        raise ValueError(f"found {found!r}, expected a time longer than 0 s, and finite")
    return seconds


def parse_size(found: int | str) -> int:
    """Return a size in bytes. A number, or text without a unit, is in bytes.

    ValueError: it is no size, or smaller than one byte.
    """
    size = int(_scale(found, _BYTES, "B", "a size such as 4096, '64 KiB', '256 MiB' or '1 GB'"))
    if size < 1:
        raise ValueError(f"found {found!r}, expected a size of 1 byte or more")
    return size


def _scale(
    found: float | str, units: dict[str, float] | dict[str, int], own: str, form: str
) -> float:
    if not isinstance(found, str):
        return found
    match = _NUMBER_AND_UNIT.fullmatch(found)
    if not match:
        raise ValueError(f"found {found!r}, expected {form}")
    number, unit = match[1], match[2] or own
    if unit not in units:
        raise ValueError(f"found the unit {unit!r}, expected one of {', '.join(units)}")
    return float(number) * units[unit]
