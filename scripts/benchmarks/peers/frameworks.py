"""What users would take instead: the same chain made with other frameworks, where installed.

Each is used as its own documentation says, and moves the same payloads through as many processes.
Some of them drop what a slow stage does not take; what counts is what arrived.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from arroyo.bench.case import MIN_EVENTS, Case, Measurement, size_text
from arroyo.bench.running.handwritten import run_handwritten
from arroyo.bench.running.supervised import run_supervised

from .with_arroyopy import run_arroyopy
from .with_dora import run_dora
from .with_iceoryx2 import run_iceoryx2
from .with_pvapy import run_pvapy

FRAMEWORK_EVENTS, FRAMEWORK_BYTES = 20_000, 2 * 1024**3
"""The slowest of them takes some seconds for so many."""


class Framework(NamedTuple):
    """A framework: what it is called, the module that it has, and how its chain is run."""

    name: str
    module: str
    run: Callable[[Case], Measurement]

    @property
    def installed(self) -> bool:
        """Whether it can be measured here."""
        return importlib.util.find_spec(self.module) is not None


OURS = (
    Framework("by hand", "zmq", run_handwritten),
    Framework("arroyo", "arroyo", run_supervised),
)
OTHERS = (
    Framework("arroyopy", "arroyopy", run_arroyopy),
    Framework("pvapy", "pvaccess", run_pvapy),
    Framework("dora-rs", "dora_cli", run_dora),
    Framework("iceoryx2", "iceoryx2", run_iceoryx2),
)


class Match(NamedTuple):
    """All runs of one case, by framework; figures are medians."""

    case: Case
    outcomes: Mapping[str, list[Measurement]]

    def rate(self, name: str) -> float:
        """Messages/s that arrived."""
        return statistics.median(each.messages_per_s for each in self.outcomes[name])

    def cpu_us(self, name: str) -> float:
        """CPU time of all stage processes for one message that was sent, in us."""
        return statistics.median(each.cpu_us_per_message for each in self.outcomes[name])

    def arrived(self, name: str) -> float:
        """Share of the messages that arrived."""
        return statistics.median(each.arrived for each in self.outcomes[name]) / self.case.events


def framework_case(payload_bytes: int, length: int, *, effort: float) -> Case:
    """Return a case that a slow framework can do."""
    events = min(FRAMEWORK_EVENTS, max(MIN_EVENTS, FRAMEWORK_BYTES // payload_bytes))
    return Case(payload_bytes, max(MIN_EVENTS, int(events * effort)), length)


def match_rows(matches: Sequence[Match]) -> list[tuple[str, ...]]:
    """Return the rows of a table, its head first."""
    rows: list[tuple[str, ...]] = [("chain", "made with", "rate", "arrived", "by hand / it", "CPU")]
    for match in matches:
        what = f"{size_text(match.case.payload_bytes)} x{match.case.length}"
        rows += [
            (
                what,
                name,
                f"{match.rate(name):,.0f} /s",
                f"{match.arrived(name):.0%}",
                f"{match.rate('by hand') / match.rate(name):.2f}" if match.rate(name) else "-",
                f"{match.cpu_us(name):,.1f} us",
            )
            for name in match.outcomes
        ]
    return rows
