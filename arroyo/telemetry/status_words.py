"""Layout of a replica's status page: 4608 bytes that say what it is doing. PURE.

The first 512 bytes are words that are read often, then come two histograms of latencies, and a
sentence that says what the replica waits for.

The replica maps the file (`telemetry.status_page`) and stores single 8-byte words, which the
machine writes whole, so neither side locks. A reader may see counters of slightly different
moments, never half a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from .histogram import BUCKETS

HEAD_BYTES = 512
"""The words of `FIELDS`, and room for more of them."""
PAGE_BYTES = 4608
MAGIC = 0x4172726F796F0003
"""First word of a page, with the layout's version in its low 16 bits."""


class Phase(IntEnum):
    """Phase of a replica's working thread."""

    STARTING = 0
    OPEN = 1
    IDLE = 2
    PROCESS = 3
    BLOCKED = 4
    """It can take nothing more: a stage below has no room or, of a source, its window is full."""
    FLUSH = 5
    DRAIN = 6
    """All its work is done, or given up; the stage's `close()` may be running."""
    CLOSED = 7
    """It closes its links and its shared memory. It ends in this phase if its work is not done."""
    ENDED = 8
    PARAMETERS = 9
    """The stage's code takes parameters that somebody has set."""


INPUTS = 8
"""Inputs of a stage that are counted one by one; the last also counts those beyond."""

FIELDS: tuple[str, ...] = (
    "magic",
    "pid",
    "incarnation",
    "phase",
    "phase_since_ns",
    "ready_since_ns",
    "received",
    "sent",
    "errors",
    "dropped",
    "filtered",
    "bytes_in",
    "bytes_out",
    "in_flight",
    "hand_sequence",
    "redelivered",
    "lost",
    "hand_source",
    "hand_epoch",
    "hand_base",
    "hand_part",
    "waits",
    "inline",
    "epoch",
    "next",
    "frontier",
    "controls",
    "unseen",
    "run_end",
    "rejected",
    "skipped",
    "quarantined",
    "repeated",
    "lost_before",
    "unfinished",
    "replayable",
    "hand_since_ns",
    "said_ns",
    "waits_since_ns",
    *(f"input_{place}" for place in range(INPUTS)),
    "hand_end",
    *(f"spent_{phase.name.lower()}_ns" for phase in Phase),
    "program",
    "arrived",
    "run_filtered",
    "run_skipped",
    "run_quarantined",
    "unseen_before",
)
"""Words of the page in their order: unsigned, 64 bits, this machine's byte order.

``phase_since_ns`` and ``ready_since_ns`` are CLOCK_MONOTONIC; ``ready_since_ns`` 0: not ready.
``received`` and ``sent`` count messages (Start and Stop left out), ``dropped`` those that were
given up with a reason, ``in_flight`` what a source waits for (or a stage has sent and got no
credit for), ``inline`` payloads that found no room in shared memory, ``rejected`` what came in and
was refused: frames that were no records, and of a source messages from outside that could not be
read or sent. Messages end on the way as ``filtered``, ``skipped`` (an error, and ``on_error`` says
so) or ``quarantined``. ``repeated``: how many of ``received`` their source had sent again after a
death, new here or not.
``input_0`` and so on: how many of them came from the first stage of ``inputs``, and so on.

Of a source: ``lost`` counts messages that this life can't deliver any more, ``lost_before`` those
that the life before has lost (some may have arrived all the same), and ``unseen_before`` how many
more of them there may be; ``unfinished`` those that were handed over and that not every sink
has finished yet, at most; ``replayable`` (1) says that its input can be read again.

What a source whose input can't be read again leaves for its next life: ``epoch``, in which its
sequences count; ``next``, the first that was not sent yet; ``frontier``, the first that not every
sink has finished; ``controls``, how many below ``next`` are of no event that the listener handed
over; ``unseen``, how many events beyond ``received`` may have been handed over, at most;
``run_end``, how many had been (+ 1) when the listener ended the run that the source has open
(0: it has not). One that ends by itself, though not all is done, also leaves ``arrived``, how many
events and places below ``next`` are finished, those beyond ``frontier`` too (0: it died), and how
many events of the open run ended on their way: ``run_filtered``, ``run_skipped`` and
``run_quarantined``.

The message in hand is the one that the stage's `process()` or `publish()` has just now:
``hand_source`` (place of its source in `Chain.replicas`, + 1; 0: none in hand), ``hand_epoch``,
``hand_sequence`` (`NO_SEQUENCE`: a Start or Stop), ``hand_base`` (the sequence of its run's first
event) and ``hand_part`` (tells the parts of a split message from each other). Where it is a list,
``hand_sequence`` is its first message, and ``hand_end`` its last + 1 (0: it is no list).
``hand_since_ns`` is when
a batch was taken in hand, or a message of it that takes longer than a moment. It is for people:
the supervisor compares samples instead. ``waits`` counts how often the stage's code has reported
that it waits for the outside world; ``said_ns`` is when it last said what for (0: never), and
``waits_since_ns`` when it began to.

``program``: pid of the foreign program that this replica runs; 0: it runs none.

``spent_idle_ns`` and so on: how long the working thread was in each phase, the present one left
out; see `phase_times_ns`.
"""

SAID_HOLDS_S = 5.0
"""What a stage waits for is believed for so long after it was said."""

NO_SEQUENCE = (1 << 64) - 1
"""In `hand_sequence`: a Start or Stop is in hand, which has no sequence of its own there."""

OFFSET = {name: 8 * index for index, name in enumerate(FIELDS)}

SPENT = FIELDS.index("spent_starting_ns")
"""Place of the first of these words; they follow in the order of `Phase`."""

HISTOGRAMS: tuple[str, ...] = ("latency", "hop")
"""They follow the head, with `BUCKETS` words each; see `latencies`."""

HISTOGRAM_OFFSET = {name: HEAD_BYTES + 8 * BUCKETS * index for index, name in enumerate(HISTOGRAMS)}

SENTENCE_OFFSET = HEAD_BYTES + 8 * BUCKETS * len(HISTOGRAMS)
SENTENCE_BYTES = PAGE_BYTES - SENTENCE_OFFSET
"""What the replica waits for: UTF-8, filled up with zeros."""


def phase_times_ns(page: Mapping[str, int], now_ns: int) -> dict[Phase, int]:
    """Return how long a replica has been in each phase, until `now_ns` (monotonic), in ns.

    The time before its first phase, while it imports, is in none. The words of the page may be of
    slightly different moments, so a time may be counted in two phases for once.
    """
    times = {phase: page[FIELDS[SPENT + phase]] for phase in Phase}
    if page["phase_since_ns"]:
        times[Phase(page["phase"])] += max(0, now_ns - page["phase_since_ns"])
    return times
