"""Figures as people read them, short enough for a table. PURE."""

from __future__ import annotations


def short_time(seconds: float) -> str:
    """Return a time such as a latency: ``5.51 ms``."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def duration(seconds: float) -> str:
    """Return a time such as an uptime: ``12.0 s``, ``2.5 d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def amount(number: float) -> str:
    """Return a number that is 0 or more with two or three digits that count: ``9.5``, ``12.5k``."""
    for digits, factor, unit in ((1, 1.0, ""), (0, 1.0, ""), (1, 1e-3, "k"), (0, 1e-3, "k")):
        if number * factor < (99.95 if digits else 999.5):
            return f"{number * factor:.{digits}f}".removesuffix(".0") + unit
    return f"{number / 1e6:,.1f}M"


def percent(share: float) -> str:
    """Return a share of 1: ``71 %``."""
    return f"{100 * share:.0f} %"


def mebibytes(size_bytes: float) -> str:
    """Return a size: ``36 MiB``."""
    return f"{size_bytes / 2**20:.0f} MiB"
