"""`Case`: a chain to measure, and `Measurement`: one run of it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

MAX_EVENTS = 1_000_000
MIN_EVENTS = 64
RUN_BYTES = 8 * 1024**3
"""Payload bytes of a run, within MIN_EVENTS to MAX_EVENTS messages. A run takes a second or more,
since its first tenths are special: new pools, few credits, cold code."""
FRAME_BYTES = 64 * 1024
"""A payload from this size on is a frame: an array that stages may read. By hand, frames are sent
without a copy, which is faster from here on."""

LATENCY_PAYLOAD_BYTES = 1024
LATENCY_RATES = (10, 1000)
LATENCY_S = 3.0
"""How long a chain is measured at each rate."""

INTEGRATED_BYTES = 8 * 1024**2
INTEGRATED_EVENTS = 256

Work: TypeAlias = Literal["pass", "lists", "read", "fill", "transform", "integrate"]
"""What happens to the bytes. PASS: frames that lie in the source's memory are passed on. READ:
besides, each stage in between reads every byte. FILL: the source makes each frame, and the stages
read it. TRANSFORM: each stage makes a new frame of the one that it gets. INTEGRATE: a stage makes
a curve of each frame, which takes 20 ms. Small messages are only passed on, one by one or as LISTS,
by `process_batch` and `publish_batch`."""
SMALL_WORK: tuple[Work, ...] = ("pass", "lists")
FRAME_WORK: tuple[Work, ...] = ("pass", "read", "fill", "transform")
_WORK_TEXT = {"fill": "fill and read"}

Chain: TypeAlias = Literal["limit", "typed", "handwritten", "best-effort", "pool", "arroyo"]
"""How a case is run. LIMIT: no chain, but what the machine could do at most. HANDWRITTEN: in pyzmq,
raw bytes; TYPED: the same, with messages decoded and encoded in each process. POOL: a
`multiprocessing.Pool`."""

Role: TypeAlias = Literal["source", "relay", "sink"]
"""Place of a process in its chain; a relay is any stage in between."""


class Case(msgspec.Struct, frozen=True):
    """One chain to measure: source, `length` stages in between, sink.

    Attributes
    ----------
    payload_bytes, events
        Size and number of the messages.
    length, replicas
        Number of stages in between, and of processes of each.
    work
        What happens to the bytes.
    interval_s
        Time between two messages; 0: as fast as the chain takes them.
    loaded
        Whether the interval gives half of the maximum rate, instead of a given one.
    best_effort
        Whether the chain is compared with itself under ``delivery = "best-effort"``.
    pixels
        How many pixels are binned for each message, where a stage integrates.
    """

    payload_bytes: int
    events: int
    length: int = 2
    replicas: int = 1
    work: Work = "pass"
    interval_s: float = 0.0
    loaded: bool = False
    best_effort: bool = False
    pixels: int = 0

    @property
    def hops(self) -> int:
        """Links from the source to the sink."""
        return self.length + 1

    @property
    def frames(self) -> bool:
        """Whether the payloads are arrays."""
        return self.payload_bytes >= FRAME_BYTES

    @property
    def chains(self) -> tuple[Chain, ...]:
        """What is run in turn; ratios are those of the last one to each of the others."""
        if self.best_effort:
            return ("best-effort", "arroyo")
        if self.work == "integrate":
            return ("limit", "pool", "arroyo")
        if self.interval_s:
            return ("handwritten", "arroyo")
        if self.frames:
            return ("limit", "handwritten", "arroyo")
        return ("limit", "typed", "handwritten", "arroyo")

    @property
    def reference(self) -> Chain:
        """The chain that Arroyo's is compared with first of all."""
        return self.chains[-2]

    @property
    def label(self) -> str:
        """Short name, the same for any number of messages."""
        what = _WORK_TEXT.get(self.work, self.work)
        if self.loaded:
            what = "latency at half rate"
        elif self.interval_s:
            what = f"latency at {1 / self.interval_s:,.0f}/s"
        elif self.best_effort:
            what = "reliable against best-effort"
        return f"{what} {size_text(self.payload_bytes)} x{self.length} r{self.replicas}"


class Measurement(msgspec.Struct, frozen=True):
    """Figures of one run of a case.

    Attributes
    ----------
    messages_per_s, mib_per_s
        Between the first and the last message at the sink.
    cpu_us_per_message
        CPU time of all stage processes, from the first message of each on.
    source_us, stage_us, sink_us
        The same for the source, for one stage in between (all of its replicas together), and for
        the sink.
    hop_p50_us, hop_p99_us
        Median and 99th percentile of the time from source to sink, divided by the number of hops;
        only for a case with an interval.
    work_us, work_cpu_us, work_faults
        What the function of a stage that works on frames takes for one: time, CPU time, and how
        often the kernel has to give it pages; medians. In the chain LIMIT: the same function
        outside of any chain.
    arrived
        Messages that arrived at the sink.
    """

    messages_per_s: float
    mib_per_s: float
    cpu_us_per_message: float
    source_us: float = 0.0
    stage_us: float = 0.0
    sink_us: float = 0.0
    hop_p50_us: float | None = None
    hop_p99_us: float | None = None
    work_us: float | None = None
    work_cpu_us: float | None = None
    work_faults: float | None = None
    arrived: float = 0


def throughput_case(
    payload_bytes: int, length: int, replicas: int, work: Work = "pass", *, effort: float
) -> Case:
    """Return a case that takes some seconds at `effort` 1."""
    run_bytes = RUN_BYTES // 2 if work == "transform" else RUN_BYTES  # its frames take longest
    events = min(MAX_EVENTS, max(MIN_EVENTS, run_bytes // payload_bytes))
    return Case(payload_bytes, max(MIN_EVENTS, int(events * effort)), length, replicas, work)


def delivery_case(payload_bytes: int, *, effort: float) -> Case:
    """Return a throughput case that compares reliable with best-effort delivery."""
    return msgspec.structs.replace(
        throughput_case(payload_bytes, 2, 1, effort=effort), best_effort=True
    )


def latency_case(length: int, rate: float, *, effort: float) -> Case:
    """Return a case with a message now and then, `rate` of them in a second."""
    events = max(2, int(rate * LATENCY_S * effort))
    return Case(LATENCY_PAYLOAD_BYTES, events, length, interval_s=1 / rate)


def half_rate_case(length: int, rate: float, *, effort: float) -> Case:
    """Return a case at half of the maximum rate (in messages/s) of a chain of this length."""
    events = int(min(MAX_EVENTS, max(MIN_EVENTS, LATENCY_S * effort * rate / 2)))
    return Case(LATENCY_PAYLOAD_BYTES, events, length, interval_s=2 / rate, loaded=True)


def integrate_case(pixels: int, *, effort: float) -> Case:
    """Return the case of one operator in two replicas that bins so many pixels per message."""
    events = max(MIN_EVENTS // 4, int(INTEGRATED_EVENTS * effort))
    return Case(INTEGRATED_BYTES, events, 1, 2, "integrate", pixels=pixels)


def size_text(size_bytes: int) -> str:
    """Return a size as people write it."""
    for factor, unit in ((1024**2, "MiB"), (1024, "KiB")):
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor} {unit}"
    return f"{size_bytes} B"
