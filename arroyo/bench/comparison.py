"""Rounds of runs: all chains of a case one after the other, again and again.

The speed of a machine drifts by more than the differences of interest, but little within a round.
So every ratio is the median over rounds. PURE but for `measure_round`.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from .case import Case, Chain, Measurement
from .running.handwritten import run_handwritten
from .running.limit import run_limit
from .running.supervised import run_supervised
from .running.typed import run_typed

Round: TypeAlias = Mapping[Chain, Measurement]
"""One run of each chain, one after the other."""


def _run_pool(case: Case) -> Measurement:
    from .running.pool import run_pool  # needs numpy

    return run_pool(case)


_RUNS: Mapping[Chain, Callable[[Case], Measurement]] = {
    "limit": run_limit,
    "typed": run_typed,
    "handwritten": run_handwritten,
    "best-effort": functools.partial(run_supervised, best_effort=True),
    "pool": _run_pool,
    "arroyo": run_supervised,
}


class Ratios(msgspec.Struct, frozen=True):
    """Arroyo's figures over those of another chain; `latency` only for a case with an interval."""

    rate: float
    cpu: float
    latency: float | None


class Comparison(NamedTuple):
    """All rounds of one case; figures are medians, ratios medians of the rounds' ratios."""

    case: Case
    figures: Mapping[Chain, Measurement]
    ratios: Mapping[Chain, Ratios]

    @property
    def headline(self) -> float:
        """The main ratio of the case; more is better."""
        found = self.ratios[self.case.reference]
        return found.rate if found.latency is None else 1.0 / found.latency

    @property
    def work_cpu_ratio(self) -> float | None:
        """The CPU time that a stage's own function takes outside of any chain, over that inside."""
        outside, inside = (self.figures.get(chain) for chain in ("limit", "arroyo"))
        if outside is None or inside is None or not outside.work_cpu_us or not inside.work_cpu_us:
            return None
        return outside.work_cpu_us / inside.work_cpu_us


def measure_round(case: Case) -> Round:
    """Run all chains of a case.

    Raises
    ------
    MeasurementError
        One of them did not finish.
    """
    return {chain: _RUNS[chain](case) for chain in case.chains}


def compare(case: Case, rounds: Sequence[Round]) -> Comparison:
    """Return the medians over rounds."""
    columns = {chain: [each[chain] for each in rounds] for chain in case.chains}
    ours = columns["arroyo"]
    return Comparison(
        case,
        {chain: _median_measurement(found) for chain, found in columns.items()},
        {
            chain: Ratios(
                _ratio(_column(ours, "messages_per_s"), _column(found, "messages_per_s")),
                _ratio(_column(ours, "cpu_us_per_message"), _column(found, "cpu_us_per_message")),
                _ratio(_column(ours, "hop_p50_us"), _column(found, "hop_p50_us"))
                if case.interval_s
                else None,
            )
            for chain, found in columns.items()
            if chain != "arroyo"
        },
    )


def _column(measurements: Sequence[Measurement], field: str) -> list[float]:
    return [getattr(measurement, field) for measurement in measurements]


def _ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    return statistics.median([up / down for up, down in zip(numerators, denominators, strict=True)])


def _median_measurement(measurements: Sequence[Measurement]) -> Measurement:
    columns = {field: _column(measurements, field) for field in Measurement.__struct_fields__}
    medians = {
        field: statistics.median(values) for field, values in columns.items() if None not in values
    }
    return Measurement(**medians)
