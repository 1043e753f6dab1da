"""`Snapshot`: the status of a chain at one moment. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class Snapshot(msgspec.Struct, frozen=True):
    """What `arroyo status --json` shows, and what the difference of two of them needs."""

    time_s: float
    """When it was read (monotonic)."""
    status: dict[str, Any]
    """As `status.read_status` returns it, without ``cpu_percent``."""
    latencies: Mapping[str, Sequence[int]] = {}
    """Histogram of the latency of each replica that runs, ``STAGE.R``, since it has started."""
