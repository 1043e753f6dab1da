"""`Case`: what is measured, and what was found. Shared by both chains and the report."""

from __future__ import annotations

import msgspec

MAX_EVENTS = 1_000_000
MIN_EVENTS = 64
RUN_BYTES = 8 * 1024**3
"""A run moves so many payload bytes, but MIN_EVENTS to MAX_EVENTS messages. It takes a second or
more, since the first tenths of one go into what happens once: pools, credits, cold code."""

LATENCY_INTERVAL_S = 0.01
LATENCY_PAYLOAD_BYTES = 1024
HALF_RATE_S = 2.0
"""How long a chain is looked at under load."""


class Case(msgspec.Struct, frozen=True):
    """One chain to measure: source, `length` pass-through stages, sink.

    Attributes
    ----------
    payload_bytes, events
        Size and number of the messages.
    length, replicas
        Pass-through stages one after another, and processes of each of them.
    interval_s
        Time between two messages; 0: as fast as the chain takes them.
    loaded
        Whether the interval makes for half of the maximum rate, not for an idle chain.
    best_effort
        Whether the other chain is Arroyo's as well, with ``delivery = "best-effort"``.
    """

    payload_bytes: int
    events: int
    length: int = 2
    replicas: int = 1
    interval_s: float = 0.0
    loaded: bool = False
    best_effort: bool = False

    @property
    def hops(self) -> int:
        """Links from the source to the sink."""
        return self.length + 1

    @property
    def label(self) -> str:
        """Short name, the same for the same chain whatever the number of messages."""
        what = "latency" if self.interval_s else "throughput"
        if self.loaded:
            what = "latency at half rate"
        if self.best_effort:
            what = "reliable against best-effort"
        return f"{what} {size_text(self.payload_bytes)} x{self.length} r{self.replicas}"


class Outcome(msgspec.Struct, frozen=True):
    """What one run of a case came to.

    Attributes
    ----------
    messages_per_s, mib_per_s
        Between the first and the last message at the sink.
    cpu_us_per_message
        CPU time of all stage processes, from the first message of each on.
    hop_p50_us, hop_p99_us
        Median and 99th percentile of the time from source to sink, shared out over the hops;
        only of a case with an interval.
    arrived
        Messages that the sink got, of those that were sent.
    """

    messages_per_s: float
    mib_per_s: float
    cpu_us_per_message: float
    hop_p50_us: float | None = None
    hop_p99_us: float | None = None
    arrived: float = 0


def throughput_case(payload_bytes: int, length: int, replicas: int, *, effort: float) -> Case:
    """Return a case that takes some seconds at `effort` 1, and the less the smaller that is."""
    events = min(MAX_EVENTS, max(MIN_EVENTS, RUN_BYTES // payload_bytes))
    return Case(payload_bytes, max(MIN_EVENTS, int(events * effort)), length, replicas)


def delivery_case(payload_bytes: int, *, effort: float) -> Case:
    """Return a throughput case that compares reliable with best-effort delivery."""
    return msgspec.structs.replace(
        throughput_case(payload_bytes, 2, 1, effort=effort), best_effort=True
    )


def latency_case(length: int, *, effort: float) -> Case:
    """Return a case whose messages never wait for each other."""
    events = int(400 * effort)
    return Case(LATENCY_PAYLOAD_BYTES, events, length, interval_s=LATENCY_INTERVAL_S)


def half_rate_case(length: int, rate: float, *, effort: float) -> Case:
    """Return a case at half of a rate, in messages/s, that a chain of this length can take."""
    events = int(min(MAX_EVENTS, max(MIN_EVENTS, HALF_RATE_S * effort * rate / 2)))
    return Case(LATENCY_PAYLOAD_BYTES, events, length, interval_s=2 / rate, loaded=True)


def size_text(size_bytes: int) -> str:
    """Write a size as people do."""
    for factor, unit in ((1024**2, "MiB"), (1024, "KiB")):
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor} {unit}"
    return f"{size_bytes} B"
